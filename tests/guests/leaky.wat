;; Decides by earlier calls: an instance that has decided once rejects from then on.
(global $decided (mut i32) (i32.const 0))
(data (i32.const 0x820)
  "\01\00\00\00" ;; error
  "\00\00\00\00" ;; rejected
  "\30\04\00\00\04\00\00\00\00\04\00\00\05\00\00\00" ;; code, message
  "\00\00\00\00") ;; no details
(func $decide (type $decide)
  (if (global.get $decided) (then (return (i32.const 0x820))))
  (global.set $decided (i32.const 1))
  (i32.const 0x740))
