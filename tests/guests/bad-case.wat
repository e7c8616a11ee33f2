;; Returns a case that the variant does not have.
(func $decide (type $decide)
  (i32.store8 (i32.const 0x70c) (i32.const 7))
  (i32.const 0x740))
