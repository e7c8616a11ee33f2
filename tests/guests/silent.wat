;; Never says what it is.
(func $describe (type $describe) (loop $again (br $again)) unreachable)
