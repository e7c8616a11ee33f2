;; Does what the body of the command says: `{"do":"loop"}`, `trap` and `memory` are faults,
;; anything else decides an event.
(memory $memory 512)
(func $decide (type $decide)
  (local $what i32)
  (if (i32.gt_u (local.get 8) (i32.const 8))
    (then
      (local.set $what (i32.load8_u (i32.add (local.get 7) (i32.const 7))))
      (if (i32.eq (local.get $what) (i32.const 108)) (then (loop $again (br $again))))
      (if (i32.eq (local.get $what) (i32.const 116)) (then unreachable))
      (if (i32.eq (local.get $what) (i32.const 109))
        (then (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable))))
  (i32.const 0x740))
