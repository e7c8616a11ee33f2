;; Decides an event with a binary body although its manifest declares JSON.
(func $decide (type $decide)
  (i32.store8 (i32.const 0x70c) (i32.const 1))
  (i32.const 0x740))
