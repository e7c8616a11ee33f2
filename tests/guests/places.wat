;; Decides by the address of its state: rejects unless its state is the first one.
(data (i32.const 0x820)
  "\01\00\00\00" ;; error
  "\00\00\00\00" ;; rejected
  "\30\04\00\00\04\00\00\00\00\04\00\00\05\00\00\00" ;; code, message
  "\00\00\00\00") ;; no details
(func $decide (type $decide)
  (if (i32.ne (local.get 0) (i32.const 0x1000)) (then (return (i32.const 0x820))))
  (i32.const 0x740))
