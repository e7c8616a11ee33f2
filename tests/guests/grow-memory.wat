;; Grows its memory by 1 MiB for every decision, and does not check that it succeeded.
(func $decide (type $decide)
  (drop (memory.grow (i32.const 16)))
  (i32.const 0x740))
