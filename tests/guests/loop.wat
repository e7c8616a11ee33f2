;; Loops endlessly in a decision.
(func $decide (type $decide) (loop $again (br $again)) unreachable)
