;; Imports a clock. A whole component, because no world of the contract allows it.
(component
  (import "quipu:domain/types@0.1.0" (instance (type u32) (export "count" (type (eq 0)))))
  (import "wasi:clocks/wall-clock@0.2.6" (instance (export "now" (func (result u64)))))
)
