;; Decides an event whose JSON is cut off.
(data (i32.const 0x470) "{:")
