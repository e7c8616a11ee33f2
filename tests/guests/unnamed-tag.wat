;; Decides an event with a tag whose name is empty.
(data (i32.const 0x810) "\00\04\00\00\05\00\00\00")
(func $decide (type $decide)
  (i32.store (i32.const 0x718) (i32.const 0x810))
  (i32.store (i32.const 0x71c) (i32.const 1))
  (i32.const 0x740))
