;; Logs text that is not valid UTF-8.
(data (i32.const 0x800) "\ff\fe")
(func $decide (type $decide)
  (call $log (i32.const 2) (i32.const 0x800) (i32.const 2))
  (i32.const 0x740))
