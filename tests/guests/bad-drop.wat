;; Traps when an aggregate is closed.
(func $drop (type $drop) unreachable)
