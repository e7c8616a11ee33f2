;; Returns a view that is not JSON.
(func $view (type $view)
  (i32.store8 (i32.const 0x460) (i32.const 0x58))
  (i32.const 0x7a0))
