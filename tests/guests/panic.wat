;; Logs an error, as the panic hook of an SDK does, and traps.
(data (i32.const 0x800) "index out of bounds")
(func $decide (type $decide)
  (call $log (i32.const 4) (i32.const 0x800) (i32.const 19))
  unreachable)
