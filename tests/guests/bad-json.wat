;; Decides an event whose JSON is truncated.
(data (i32.const 0x470) "{:")
