;; Reports an internal failure in both kinds of calls.
(data (i32.const 0x800) "lost \"it\"\n")
(data (i32.const 0x820) "\01\00\00\00\02\00\00\00\00\08\00\00\0a\00\00\00")
(func $decide (type $decide) (i32.const 0x820))
(func $apply (type $apply) (i32.const 0x820))
