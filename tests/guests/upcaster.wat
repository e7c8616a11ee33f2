;; A valid upcaster without steps.
(module
  (memory (export "memory") 1)
  (data (i32.const 0x400) "probes")
  (data (i32.const 0x410) "1.0.0")
  (data (i32.const 0x500)
    "\00\04\00\00\06\00\00\00" ;; name
    "\10\04\00\00\05\00\00\00") ;; version
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0x1000))
  (func (export "quipu:domain/manifest@0.1.0#describe") (result i32) (i32.const 0x500))
  (func (export "quipu:domain/upcaster@0.1.0#steps") (result i32) (i32.const 0x600))
  (func (export "quipu:domain/upcaster@0.1.0#upcast") (param i32 i32 i32) (result i32) unreachable)
)
