;; Its state counts the calls of `apply`: from three on it rejects.
(data (i32.const 0x820)
  "\01\00\00\00" ;; error
  "\00\00\00\00" ;; rejected
  "\30\04\00\00\04\00\00\00\00\04\00\00\05\00\00\00" ;; code, message
  "\00\00\00\00") ;; no details
(func $apply (type $apply)
  (i32.store (local.get 0) (i32.add (i32.load (local.get 0)) (i32.const 1)))
  (i32.const 0x790))
(func $decide (type $decide)
  (if (i32.ge_u (i32.load (local.get 0)) (i32.const 3)) (then (return (i32.const 0x820))))
  (i32.const 0x740))
