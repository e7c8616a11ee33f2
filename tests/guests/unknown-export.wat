;; Exports an interface of the package that this host does not know.
(component
  (core module $module (func (export "react")))
  (core instance $core (instantiate $module))
  (func $react (canon lift (core func $core "react")))
  (instance $reactor (export "react" (func $react)))
  (export "quipu:domain/reactor@0.1.0" (instance $reactor))
)
