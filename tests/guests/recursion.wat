;; Calls itself endlessly. The addition prevents the compiler from making it a loop.
(func $dive (param $n i32) (result i32)
  (i32.add (call $dive (local.get $n)) (i32.const 1)))
(func $decide (type $decide) (call $dive (i32.const 0)))
