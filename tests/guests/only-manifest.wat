;; Exports a manifest and nothing else.
(component
  (core module $module (func (export "run")))
  (core instance $core (instantiate $module))
  (func $run (canon lift (core func $core "run")))
  (instance $manifest (export "describe" (func $run)))
  (export "quipu:domain/manifest@0.1.0" (instance $manifest))
)
