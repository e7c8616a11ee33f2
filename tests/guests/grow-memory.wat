;; Takes 1 MiB more memory for every decision, and trusts that it got it.
(func $decide (type $decide)
  (drop (memory.grow (i32.const 16)))
  (i32.const 0x740))
