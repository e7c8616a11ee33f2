;; Traps in the middle of a decision.
(func $decide (type $decide) unreachable)
