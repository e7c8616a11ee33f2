;; A valid decider: category `probe`, command `go`, event `went`.
;;
;; Its state is the number of events it has folded, shown by `view` as one digit;
;; every decision is one `went`. The other guests replace functions and memories
;; of this module by name, and break one rule each.
;;
;; Records are laid out in memory as the canonical ABI requires: a string or list is a
;; pointer and a length, a case is a number before its payload.
(module
  (import "quipu:domain/diagnostics@0.1.0" "log" (func $log (param $level i32) (param $text i32) (param $length i32)))
  (import "[export]quipu:domain/decider@0.1.0" "[resource-new]aggregate" (func $new (param $representation i32) (result i32)))

  (type $describe (func (result i32)))
  (type $open (func (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (type $apply (func (param i32 i32 i32) (result i32)))
  ;; self, id (2), type (2), schema version, body (3), accepted-at, seed (4), annotations (2)
  (type $decide (func (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i64 i64 i64 i64 i32 i32) (result i32)))
  (type $snapshot (func (param i32) (result i32)))
  (type $view (func (param i32) (result i32)))
  (type $drop (func (param i32)))
  (type $migrate (func (param i32 i32 i32 i32) (result i32)))
  (type $steps (func (result i32)))
  (type $upcast (func (param i32 i32 i32) (result i32)))

  (memory $memory 2)
  (export "memory" (memory $memory))

  (data (i32.const 0x400) "probe")
  (data (i32.const 0x410) "1.0.0")
  (data (i32.const 0x420) "go")
  (data (i32.const 0x430) "went")
  (data (i32.const 0x440) "application/json")
  (data (i32.const 0x460) "{\"count\":0}")
  (data (i32.const 0x470) "{}")
  ;; The manifest.
  (data (i32.const 0x500)
    "\00\04\00\00\05\00\00\00" ;; name
    "\10\04\00\00\05\00\00\00" ;; version
    "\01\00\00\00"             ;; state schema version, at 0x510
    "\00\00\00\00\00\00\00\00" ;; migrations, at 0x514
    "\00\06\00\00\01\00\00\00" ;; commands, at 0x51c
    "\40\06\00\00\01\00\00\00" ;; events, at 0x524
    "\00\00\00\00\00\00\00\00") ;; annotations
  ;; The command `go`.
  (data (i32.const 0x600)
    "\20\04\00\00\02\00\00\00" ;; type
    "\01\00\00\00"             ;; schema version
    "\00\00\00\00\00\00\00\00" ;; aliases
    "\40\04\00\00\10\00\00\00" ;; content type
    "\00\00\00\00\00\00\00\00") ;; JSON Schema
  ;; The event `went`.
  (data (i32.const 0x640)
    "\30\04\00\00\04\00\00\00" ;; type
    "\01\00\00\00"             ;; schema version, at 0x648
    "\00\00\00\00\00\00\00\00" ;; aliases
    "\40\04\00\00\10\00\00\00" ;; content type
    "\00\00\00\00\00\00\00\00") ;; JSON Schema
  ;; A decision: one event.
  (data (i32.const 0x700)
    "\30\04\00\00\04\00\00\00" ;; type
    "\01\00\00\00"             ;; schema version, at 0x708
    "\00\00\00\00"             ;; body: case, at 0x70c
    "\70\04\00\00\02\00\00\00" ;; body: text, at 0x710
    "\00\00\00\00\00\00\00\00" ;; tags, at 0x718
    "\00\00\00\00\00\00\00\00") ;; annotations, at 0x720
  (data (i32.const 0x740) "\00\00\00\00\00\07\00\00\01\00\00\00") ;; ok: the list of it
  ;; Results: opened (the handle at 0x784), applied, viewed, none.
  (data (i32.const 0x780) "\00\00\00\00\00\00\00\00")
  (data (i32.const 0x790) "\00\00\00\00")
  (data (i32.const 0x7a0) "\01\00\00\00\60\04\00\00\0b\00\00\00")
  (data (i32.const 0x7b0) "\00\00\00\00")
  ;; A snapshot: `{}` of version 1.
  (data (i32.const 0x7c0)
    "\01\00\00\00"             ;; some
    "\01\00\00\00"             ;; state schema version, at 0x7c4
    "\00\00\00\00"             ;; body: case
    "\70\04\00\00\02\00\00\00") ;; body: text

  ;; Memory for arguments is a ring buffer from 0x8000 to the end.
  (global $free (mut i32) (i32.const 0x8000))
  (func $allocate (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
    (if (i32.gt_u (i32.add (local.get $at) (local.get $size)) (i32.const 0x20000))
      (then (local.set $at (i32.const 0x8000))))
    (global.set $free (i32.add (local.get $at) (local.get $size)))
    (local.get $at))

  ;; Aggregates take eight bytes each below that; dropped ones are in a free list.
  (global $next (mut i32) (i32.const 0x1000))
  (global $dropped (mut i32) (i32.const 0))
  (func $take (result i32)
    (local $at i32)
    (local.set $at (global.get $dropped))
    (if (result i32) (local.get $at)
      (then
        (global.set $dropped (i32.load (local.get $at)))
        (local.get $at))
      (else
        (local.set $at (global.get $next))
        (global.set $next (i32.add (local.get $at) (i32.const 8)))
        (local.get $at))))

  (func $describe (type $describe) (i32.const 0x500))

  (func $open (type $open)
    (local $state i32)
    (local.set $state (call $take))
    (i32.store (local.get $state) (i32.const 0))
    (i32.store (i32.const 0x784) (call $new (local.get $state)))
    (i32.const 0x780))

  ;; Adds the length of the list of events.
  (func $apply (type $apply)
    (i32.store (local.get 0) (i32.add (i32.load (local.get 0)) (local.get 2)))
    (i32.const 0x790))

  (func $decide (type $decide) (i32.const 0x740))

  (func $snapshot (type $snapshot) (i32.const 0x7c0))

  (func $view (type $view)
    (i32.store8 (i32.const 0x469) (i32.add (i32.const 0x30) (i32.load (local.get 0))))
    (i32.const 0x7a0))

  (func $drop (type $drop)
    (i32.store (local.get 0) (global.get $dropped))
    (global.set $dropped (local.get 0)))

  (func $migrate (type $migrate) (i32.const 0x7b0))

  ;; As an upcaster: no steps.
  (func $steps (type $steps) (i32.const 0x7b0))
  (func $upcast (type $upcast) unreachable)

  (export "cabi_realloc" (func $allocate))
  (export "quipu:domain/manifest@0.1.0#describe" (func $describe))
  (export "quipu:domain/decider@0.1.0#[static]aggregate.open" (func $open))
  (export "quipu:domain/decider@0.1.0#[method]aggregate.apply" (func $apply))
  (export "quipu:domain/decider@0.1.0#[method]aggregate.decide" (func $decide))
  (export "quipu:domain/decider@0.1.0#[method]aggregate.snapshot" (func $snapshot))
  (export "quipu:domain/decider@0.1.0#[method]aggregate.view" (func $view))
  (export "quipu:domain/decider@0.1.0#[dtor]aggregate" (func $drop))
  (export "quipu:domain/decider@0.1.0#migrate" (func $migrate))
)
