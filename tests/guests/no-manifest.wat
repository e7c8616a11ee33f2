;; Exports functions, but no manifest.
(component
  (core module $module (func (export "run")))
  (core instance $core (instantiate $module))
  (func $run (canon lift (core func $core "run")))
  (instance $upcaster (export "steps" (func $run)) (export "upcast" (func $run)))
  (export "quipu:domain/upcaster@0.1.0" (instance $upcaster))
)
