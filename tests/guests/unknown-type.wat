;; Decides `went`, although its manifest names only `prob`.
(func $describe (type $describe)
  (i32.store (i32.const 0x640) (i32.const 0x400))
  (i32.const 0x500))
