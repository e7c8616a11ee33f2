;; Grows a table of 10,000 elements by as many for every decision.
(table $table 10000 funcref)
(func $decide (type $decide)
  (drop (table.grow $table (ref.null func) (i32.const 10000)))
  (i32.const 0x740))
