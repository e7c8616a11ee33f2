;; Decides an event of 64 KiB: a JSON string of spaces.
(memory $memory 4)
(func $decide (type $decide)
  (memory.fill (i32.const 0x10000) (i32.const 0x20) (i32.const 0x10000))
  (i32.store8 (i32.const 0x10000) (i32.const 0x22))
  (i32.store8 (i32.const 0x1ffff) (i32.const 0x22))
  (i32.store (i32.const 0x710) (i32.const 0x10000))
  (i32.store (i32.const 0x714) (i32.const 0x10000))
  (i32.const 0x740))
