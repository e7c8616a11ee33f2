;; Rejects every command, with the code `went` and the message `probe`.
(data (i32.const 0x820)
  "\01\00\00\00" ;; error
  "\00\00\00\00" ;; rejected
  "\30\04\00\00\04\00\00\00\00\04\00\00\05\00\00\00" ;; code, message
  "\00\00\00\00") ;; no details
(func $decide (type $decide) (i32.const 0x820))
