;; Decides an event whose JSON is not valid UTF-8.
(data (i32.const 0x470) "\"\ff")
