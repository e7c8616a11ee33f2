;; Answers with a case that no variant has.
(func $decide (type $decide)
  (i32.store8 (i32.const 0x70c) (i32.const 7))
  (i32.const 0x740))
