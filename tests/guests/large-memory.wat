;; Starts with 2 MiB of memory.
(memory $memory 32)
