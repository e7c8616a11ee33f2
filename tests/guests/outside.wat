;; Returns a pointer outside of its memory.
(func $decide (type $decide)
  (i32.store (i32.const 0x710) (i32.const 0xfffffff0))
  (i32.const 0x740))
