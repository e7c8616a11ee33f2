;; Has the names of a decider's functions, but with wrong types.
(component
  (core module $module (func (export "run")))
  (core instance $core (instantiate $module))
  (func $run (canon lift (core func $core "run")))
  (instance $manifest (export "describe" (func $run)))
  (instance $upcaster (export "steps" (func $run)) (export "upcast" (func $run)))
  (export "quipu:domain/manifest@0.1.0" (instance $manifest))
  (export "quipu:domain/upcaster@0.1.0" (instance $upcaster))
)
