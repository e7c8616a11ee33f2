;; Decides an event whose JSON is no UTF-8.
(data (i32.const 0x470) "\"\ff")
