;; Its state counts the calls of `apply`. Each of them takes a while, and the fortieth traps.
(func $apply (type $apply)
  (local $turns i32)
  (i32.store (local.get 0) (i32.add (i32.load (local.get 0)) (i32.const 1)))
  (local.set $turns (i32.const 1000000))
  (loop $turn
    (local.set $turns (i32.sub (local.get $turns) (i32.const 1)))
    (br_if $turn (local.get $turns)))
  (if (i32.ge_u (i32.load (local.get 0)) (i32.const 40)) (then unreachable))
  (i32.const 0x790))
