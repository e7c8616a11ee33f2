;; An upcaster of the category `note`: drops `noted` 1, and traps at `broken` 1.
(module
  (memory (export "memory") 2)
  (data (i32.const 0x400) "notes")
  (data (i32.const 0x410) "1.0.0")
  (data (i32.const 0x420) "note")
  (data (i32.const 0x430) "noted")
  (data (i32.const 0x440) "broken")
  (data (i32.const 0x500)
    "\00\04\00\00\05\00\00\00" ;; name
    "\10\04\00\00\05\00\00\00") ;; version
  (data (i32.const 0x580)
    "\20\04\00\00\04\00\00\00" ;; step 0: category
    "\30\04\00\00\05\00\00\00" ;; type
    "\01\00\00\00"             ;; from version
    "\00\00\00\00\00\00\00\00" ;; to: nothing
    "\20\04\00\00\04\00\00\00" ;; step 1: category
    "\40\04\00\00\06\00\00\00" ;; type
    "\01\00\00\00"             ;; from version
    "\c0\05\00\00\01\00\00\00") ;; to, at 0x5c0
  (data (i32.const 0x5c0) "\40\04\00\00\06\00\00\00\02\00\00\00") ;; `broken` 2
  (data (i32.const 0x600) "\80\05\00\00\02\00\00\00") ;; the two steps
  (data (i32.const 0x700) "\00\00\00\00\00\20\00\00") ;; ok: lists at 0x2000, all empty

  ;; Memory for arguments is a ring buffer from 0x8000 to the end.
  (global $free (mut i32) (i32.const 0x8000))
  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
    (if (i32.gt_u (i32.add (local.get $at) (local.get $size)) (i32.const 0x20000))
      (then (local.set $at (i32.const 0x8000))))
    (global.set $free (i32.add (local.get $at) (local.get $size)))
    (local.get $at))

  (func (export "quipu:domain/manifest@0.1.0#describe") (result i32) (i32.const 0x500))
  (func (export "quipu:domain/upcaster@0.1.0#steps") (result i32) (i32.const 0x600))
  (func (export "quipu:domain/upcaster@0.1.0#upcast") (param $step i32) (param i32) (param $count i32) (result i32)
    (if (local.get $step) (then unreachable))
    (i32.store (i32.const 0x708) (local.get $count))
    (i32.const 0x700))
)
