"""Tests of what a tutorial means to its test."""

import unittest

from page import PageError, edited, fits, steps

PAGE = """
```console
$ quipu execute a-1 open \\
    '{}'
a-1 is at version 1
$ pwd
```
<!-- file: src/a.ts -->
```ts
let a = 1;
```
```rust
only read
```
<!-- background -->
```text
ready
```
<!-- stop -->
"""


class Pages(unittest.TestCase):
    def test_a_page_is_a_list_of_steps(self) -> None:
        run, file, output, stop = steps(PAGE, "page.md")
        self.assertEqual(run.commands[0].text, "quipu execute a-1 open \\\n    '{}'")
        self.assertEqual(run.commands[0].output, ["a-1 is at version 1"])
        self.assertEqual(run.commands[1].text, "pwd")
        self.assertEqual((file.kind, file.path, file.lines), ("file", "src/a.ts", ["let a = 1;"]))
        self.assertEqual((output.kind, output.lines, output.commands), ("background", ["ready"], []))
        self.assertEqual(stop.kind, "stop")

    def test_a_mark_without_its_block_is_an_error(self) -> None:
        for page, message in [
            ("<!-- file: a -->\ntext", "not on the line before"),
            ("<!-- file: a -->", "no block follows"),
            ("<!-- file -->\n```\n```", "needs a path"),
            ("<!-- file: ../a -->\n```\n```", "not inside"),
            ("<!-- files: a -->\n```\n```", "unknown mark"),
            ("<!-- edit: a -->\n```ts\n```", "`diff` block"),
            ("```sh\ntrue", "no end"),
            ("```console\nout\n```", "output without a command"),
        ]:
            with self.subTest(page), self.assertRaisesRegex(PageError, message):
                steps(page, "page.md")

    def test_an_ellipsis_fits_anything(self) -> None:
        self.assertTrue(fits(["a", "…", "b … d"], "a\nx\ny\nb c d\n"))
        self.assertTrue(fits(["a", "…", "b"], "\na\nb\n\n"))
        self.assertTrue(fits([], ""))
        self.assertTrue(fits(["…"], ""))

    def test_anything_else_must_be_equal(self) -> None:
        for shown, printed in [
            (["a"], "b\n"),
            (["a"], "a\nb\n"),
            (["a", "b"], "a\n"),
            (["a … c"], "a b\nc\n"),
            ([], "a\n"),
            (["a"], ""),
            (["a.c"], "abc\n"),
        ]:
            with self.subTest(shown=shown, printed=printed):
                self.assertFalse(fits(shown, printed))

    def test_an_edit_replaces_lines(self) -> None:
        diff = [" a", "-b", "+B", "", "@@ the end", "-d", "+D"]
        self.assertEqual(edited("a\nb\n\nc\nd\n", diff, "page.md:1"), "a\nB\n\nc\nD\n")

    def test_an_edit_of_lines_that_are_not_there_once_is_an_error(self) -> None:
        for text in ["b\n", "a\na\n", "ca\n"]:
            with self.subTest(text), self.assertRaisesRegex(PageError, "expected once"):
                edited(text, [" a", "+b"], "page.md:1")


if __name__ == "__main__":
    unittest.main()
