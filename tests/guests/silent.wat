;; Loops endlessly in its manifest function.
(func $describe (type $describe) (loop $again (br $again)) unreachable)
