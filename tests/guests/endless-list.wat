;; Returns a list of four billion events.
(func $decide (type $decide)
  (i32.store (i32.const 0x748) (i32.const 0xffffffff))
  (i32.const 0x740))
