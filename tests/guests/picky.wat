;; Knows no event, and cannot read any command.
(data (i32.const 0x800) "no such thing")
(data (i32.const 0x820) "\01\00\00\00\00\00\00\00\00\08\00\00\0d\00\00\00") ;; unknown event
(data (i32.const 0x840) "\01\00\00\00\01\00\00\00\00\08\00\00\0d\00\00\00") ;; bad command
(func $apply (type $apply) (i32.const 0x820))
(func $decide (type $decide) (i32.const 0x840))
