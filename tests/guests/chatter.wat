;; Logs 64 KiB repeatedly, which costs only a few instructions each time.
(memory $memory 4)
(func $decide (type $decide)
  (loop $again
    (call $log (i32.const 2) (i32.const 0x10000) (i32.const 0x10000))
    (br $again))
  unreachable)
