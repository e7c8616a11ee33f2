;; Decides `went`, where its manifest names `prob` only.
(func $describe (type $describe)
  (i32.store (i32.const 0x640) (i32.const 0x400))
  (i32.const 0x500))
