;; Counts to a million before it decides.
(func $decide (type $decide)
  (local $n i32)
  (loop $again
    (local.set $n (i32.add (local.get $n) (i32.const 1)))
    (br_if $again (i32.lt_u (local.get $n) (i32.const 1000000))))
  (i32.const 0x740))
