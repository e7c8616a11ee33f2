;; Calls itself a hundred times before it decides.
(func $dive (param $n i32) (result i32)
  (if (i32.eqz (local.get $n)) (then (return (i32.const 0))))
  (i32.add (call $dive (i32.sub (local.get $n) (i32.const 1))) (i32.const 1)))
(func $decide (type $decide)
  (drop (call $dive (i32.const 100)))
  (i32.const 0x740))
