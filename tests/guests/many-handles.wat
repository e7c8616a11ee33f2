;; Makes handles, which use the host's memory, endlessly.
(func $decide (type $decide)
  (loop $again
    (drop (call $new (i32.const 0)))
    (br $again))
  unreachable)
