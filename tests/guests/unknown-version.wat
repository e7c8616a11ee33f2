;; Decides an event of a schema version that its manifest does not declare.
(func $decide (type $decide)
  (i32.store (i32.const 0x708) (i32.const 2))
  (i32.const 0x740))
