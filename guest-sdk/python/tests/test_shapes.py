"""The forms of values in JSON."""

import datetime
import enum
import math
import subprocess
import sys
import unittest
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

from quipu_guest import U32, Between, DefinitionError, Length, Map, Name, Unfit, replace
from quipu_guest.anyjson import DEPTH_MAX, dump, parse, parse_exactly
from quipu_guest.typeshapes import schema_of, shape_of


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Inner:
    number: U32 = 0


@dataclass(frozen=True)
class Tree:
    name: str
    children: tuple["Tree", ...] = ()


@dataclass
class Mutable:
    items: list[int] = field(default_factory=list)


class Values(unittest.TestCase):
    def check(self, tp: Any, text: str, value: Any, written: str | None = None) -> None:
        shape = shape_of(tp)
        read = shape.read(parse(text))
        self.assertEqual(read, value)
        self.assertIs(type(read), type(value))
        self.assertEqual(shape.write(value), text if written is None else written)

    def refuse(self, tp: Any, text: str, part: str) -> None:
        with self.assertRaises(Unfit) as raised:
            shape_of(tp).read(parse(text))
        self.assertIn(part, str(raised.exception))
        self.assertLess(len(str(raised.exception)), 400)

    def test_each_type_is_read_and_written(self) -> None:
        utc = datetime.timezone.utc
        self.check(int, "-5", -5)
        self.check(int, "18446744073709551615", 2**64 - 1)
        self.check(float, "1.5", 1.5)
        self.check(float, "2", 2.0, "2.0")
        self.check(float, "1e300", 1e300, "1e+300")
        self.check(bool, "true", True)
        self.check(str, '"Zo\\u00eb \\n"', "Zoë \n", '"Zoë \\n"')
        self.check(str, '"\\ud83d\\ude00"', "😀", '"😀"')
        self.check(Optional[int], "null", None)
        self.check(int | None, "1", 1)
        self.check(Literal["a", "b", 3], '"b"', "b")
        self.check(Literal["a", "b", 3], "3", 3)
        self.check(Colour, '"blue"', Colour.BLUE)
        self.check(list[int], "[1,2]", [1, 2])
        self.check(tuple[int, ...], "[1,2]", (1, 2))
        self.check(tuple[int, str], '[1,"a"]', (1, "a"))
        self.check(dict[str, int], '{"b":1,"a":2}', {"b": 1, "a": 2})
        self.check(Map[int], '{"b":1,"a":2}', Map({"a": 2, "b": 1}), '{"a":2,"b":1}')
        self.check(
            datetime.datetime,
            '"2026-01-31T12:00:00.5+01:00"',
            datetime.datetime(2026, 1, 31, 11, 0, 0, 500_000, utc),
            '"2026-01-31T11:00:00.500000Z"',
        )
        self.check(datetime.date, '"2026-01-31"', datetime.date(2026, 1, 31))
        self.check(uuid.UUID, f'"{uuid.UUID(int=7)}"', uuid.UUID(int=7))
        self.check(Decimal, '"12.50"', Decimal("12.50"))
        self.check(bytes, '"AAE="', b"\0\1")
        self.check(Any, '{"b":[1,null,"x"]}', {"b": [1, None, "x"]})
        self.check(Inner, "{}", Inner(0), '{"number":0}')
        self.check(
            Tree, '{"name":"a","children":[{"name":"b","children":[]}]}', Tree("a", (Tree("b"),))
        )

    def test_values_that_do_not_fit_are_refused_with_their_path(self) -> None:
        self.refuse(int, "1.0", "expected a whole number")
        self.refuse(int, "true", "found true")
        self.refuse(int, "18446744073709551616", "18446744073709551615, found")
        self.refuse(int, "-9223372036854775809", "found -9223372036854775809")
        self.refuse(float, "1e400", "expected a number")
        self.refuse(float, "9" * 400, "expected a number")
        self.refuse(bool, "1", "expected true or false")
        self.refuse(str, "null", "expected a string, found null")
        self.refuse(str, '"\\ud800"', "expected a string")
        self.refuse(Colour, '"green"', '"red", "blue"')
        self.refuse(Colour, "[]", "found an array")
        self.refuse(tuple[int, str], "[1]", "an array of 2 elements")
        self.refuse(dict[str, int], '{"a":"b"}', "a: expected a whole number")
        self.refuse(datetime.datetime, '"2026-01-31T12:00:00"', "a time with an offset")
        self.refuse(datetime.date, '"2026-02-31"', "a date")
        self.refuse(Decimal, '"NaN"', "a decimal number")
        self.refuse(bytes, '"A"', "Base64")
        self.refuse(Inner, '{"number":-1}', "number: expected a whole number from 0 to 4294967295")
        self.refuse(Inner, "[0]", "expected an object, found an array")
        self.refuse(Tree, "{}", "name: the field is missing")
        self.refuse(
            Tree, '{"name":"a","children":[{"name":1}]}', "children.0.name: expected a string"
        )
        self.refuse(str, '"' + "x" * 9 + '"' + "1", "Extra data")
        self.refuse(int, '"' + "x" * 100_000 + '"', "...")

    def test_other_members_are_left_out_and_missing_ones_have_their_default(self) -> None:
        @dataclass(frozen=True)
        class Order:
            id: int
            note: str | None = None
            lines: list[Inner] = field(default_factory=list)

        self.check(Order, '{"other":[1],"id":1}', Order(1), '{"id":1,"note":null,"lines":[]}')
        self.check(
            Order,
            '{"lines":[{}],"id":1}',
            Order(1, None, [Inner(0)]),
            '{"id":1,"note":null,"lines":[{"number":0}]}',
        )
        self.refuse(Order, '{"note":"x"}', "id: the field is missing")
        self.refuse(Order, '{"id":null}', "id: expected a whole number")
        self.refuse(Order, '{"id":1,"lines":null}', "lines: expected an array, found null")

    def test_bounds_are_obeyed_and_violated(self) -> None:
        die = Annotated[int, Between(1, 6)]
        self.check(die, "6", 6)
        self.refuse(die, "7", "from 1 to 6, found 7")
        name = Annotated[str, Length(1, 3)]
        self.check(name, '"abc"', "abc")
        self.refuse(name, '""', "expected 1 to 3 characters, found 0")
        self.refuse(name, '"abcd"', "found 4")
        names = Annotated[list[str], Length(1, 2)]
        self.check(names, '["a"]', ["a"])
        self.refuse(names, '["a","b","c"]', "expected 1 to 2 elements, found 3")

    def test_values_of_another_type_cannot_be_written(self) -> None:
        for tp, value in (
            (int, "5"),
            (int, True),
            (float, math.nan),
            (float, math.inf),
            (str, 5),
            (str, "\ud800"),
            (Colour, "red"),
            (list[int], {1}),
            (dict[str, int], {1: 2}),
            (datetime.datetime, datetime.datetime(2026, 1, 1)),
            (datetime.date, datetime.datetime(2026, 1, 1)),
            (Inner, Inner("x")),  # type: ignore[arg-type]
            (Inner, Tree("a")),
            (Any, object()),
            (Any, {"a": {1, 2}}),
        ):
            with self.subTest(tp=tp, value=value), self.assertRaises(Unfit):
                shape_of(tp).write(value)

    def test_a_field_may_have_another_name_in_json(self) -> None:
        @dataclass
        class Edge:
            from_: int
            kind: Annotated[str, Name("type")] = ""

        shape = shape_of(Edge)
        self.assertEqual(shape.write(Edge(1, "x")), '{"from":1,"type":"x"}')
        self.assertEqual(shape.read({"from": 1, "type": "x"}), Edge(1, "x"))

    def test_a_class_may_check_its_values(self) -> None:
        @dataclass
        class Even:
            number: int

            def __post_init__(self) -> None:
                if self.number % 2:
                    raise ValueError(f"{self.number} is odd")

        with self.assertRaisesRegex(Unfit, "3 is odd"):
            shape_of(Even).read({"number": 3})

    def test_types_without_a_form_are_refused_with_the_remedy(self) -> None:
        class Plain:
            pass

        for tp, part in (
            (set[str], "use a sorted tuple"),
            (frozenset[int], "a set has no order"),
            (int | str, "use one dataclass with optional fields"),
            (dict[int, str], "use dict[str, ...]"),
            (Plain, "the type Plain has no form in JSON; use a dataclass"),
            (Literal[1.5], "not a string or a number"),
        ):
            with self.subTest(tp=tp), self.assertRaises(DefinitionError) as raised:
                shape_of(tp)
            self.assertIn(part, str(raised.exception))

    def test_only_values_that_cannot_change_are_frozen(self) -> None:
        for tp, frozen in (
            (Tree, True),
            (Mutable, False),
            (Map[Inner], True),
            (Map[list[int]], False),
            (dict[str, int], False),
            (tuple[Inner, ...], True),
            (Any, False),
            (Colour, True),
        ):
            self.assertEqual(shape_of(tp).frozen, frozen, tp)


class Texts(unittest.TestCase):
    def test_malformed_json_does_not_fit(self) -> None:
        for text in (
            "",
            "{",
            "[1,]",
            "NaN",
            "-Infinity",
            '{"a":1,"a":2}',
            "1 2",
            "\x00",
            "[" * 100_000,
        ):
            with self.subTest(text=text[:20]), self.assertRaises(Unfit):
                parse(text)

    def test_white_space_around_a_value_is_allowed(self) -> None:
        self.assertEqual(parse(' \n{"a": 1}\t'), {"a": 1})

    def test_numbers_keep_their_digits(self) -> None:
        text = '{"a":1.10,"b":0.12345678901234567890123,"c":1E5,"d":[2.0]}'
        self.assertEqual(dump(parse_exactly(text)), text)

    def test_nesting_is_bounded(self) -> None:
        value: Any = 1
        for _ in range(DEPTH_MAX):
            value = [value]
        dump(value)
        with self.assertRaisesRegex(Unfit, "values in each other"):
            dump([value])
        circle: list[Any] = []
        circle.append(circle)
        with self.assertRaises(Unfit):
            dump(circle)

    def test_any_value_is_written(self) -> None:
        value = {
            "s": Colour.RED,
            "i": Inner(3),
            "t": (1, 2.5, None, True),
            Colour.BLUE: Decimal("1.0"),
        }
        self.assertEqual(
            dump(value), '{"s":"red","i":{"number":3},"t":[1,2.5,null,true],"blue":"1.0"}'
        )


class Schemas(unittest.TestCase):
    def test_a_schema_names_types_bounds_and_required_fields(self) -> None:
        @dataclass
        class Order:
            id: uuid.UUID
            colour: Colour
            lines: Annotated[list[Inner], Length(1, 10)]
            note: str | None = None

        schema = schema_of(Order)
        self.assertEqual(schema["required"], ["id", "colour", "lines"])
        self.assertEqual(schema["properties"]["id"], {"type": "string", "format": "uuid"})
        self.assertEqual(schema["properties"]["colour"], {"enum": ["red", "blue"]})
        self.assertEqual(schema["properties"]["lines"]["maxItems"], 10)
        self.assertEqual(schema["properties"]["lines"]["items"], {"$ref": "#/$defs/Inner"})
        self.assertEqual(
            schema["$defs"]["Inner"]["properties"]["number"],
            {"type": "integer", "minimum": 0, "maximum": 4294967295},
        )

    def test_a_type_that_contains_itself_has_a_schema(self) -> None:
        schema = schema_of(Tree)
        self.assertEqual(schema["$ref"], "#/$defs/Tree")
        self.assertIn("Tree", schema["$defs"])


class Copies(unittest.TestCase):
    def test_a_copy_equals_that_of_dataclasses(self) -> None:
        import dataclasses

        @dataclass(frozen=True)
        class Checked:
            number: int = 0

            def __post_init__(self) -> None:
                if self.number < 0:
                    raise ValueError("negative")

        @dataclass(frozen=True, slots=True)
        class Slotted:
            number: int = 0

        for value in (Inner(1), Checked(1), Slotted(1), shape_of(Inner).read({"number": 1})):
            copy = replace(value, number=2)
            self.assertEqual(copy, dataclasses.replace(value, number=2))
            self.assertEqual(hash(copy), hash(type(value)(2)))
            self.assertEqual((value.number, copy.number), (1, 2))
            with self.assertRaises(TypeError):
                replace(value, other=1)
        self.assertEqual(replace(Mutable([1]), items=[2]), Mutable([2]))
        with self.assertRaisesRegex(ValueError, "negative"):
            replace(Checked(1), number=-1)

    def test_a_constructor_of_its_own_is_called(self) -> None:
        @dataclass(frozen=True)
        class Doubled:
            number: int

            def __init__(self, number: int) -> None:
                object.__setattr__(self, "number", number * 2)

        self.assertEqual(shape_of(Doubled).read({"number": 3}).number, 6)

    def test_a_value_that_was_read_is_an_ordinary_one(self) -> None:
        for tp, text, value in (
            (Inner, '{"number":3}', Inner(3)),
            (Tree, '{"name":"a"}', Tree("a")),
        ):
            read = shape_of(tp).read(parse(text))
            self.assertEqual((read, repr(read), hash(read)), (value, repr(value), hash(value)))
            with self.assertRaises(AttributeError):
                read.number = 1


class InComponents(unittest.TestCase):
    def test_times_have_a_form_after_the_clock_is_replaced(self) -> None:
        program = """
from quipu_guest import purity, typeshapes
purity.replace()
from datetime import date, datetime
for tp, text in (datetime, "2026-01-31T12:00:00Z"), (date, "2026-01-31"):
    assert typeshapes.shape_of(tp) is not None
    assert isinstance(tp.fromisoformat(text), tp)
"""
        command = [sys.executable, "-c", program]
        environment = {"PYTHONPATH": str(Path(__file__).parents[1] / "src")}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        self.assertEqual((done.returncode, done.stderr), (0, ""))


class Maps(unittest.TestCase):
    def test_a_map_is_ordered_by_key_and_never_changes(self) -> None:
        first: Map[int] = Map({"b": 1})
        second = first.set("a", 2)
        self.assertEqual((list(first), list(second)), (["b"], ["a", "b"]))
        self.assertEqual(second.without("b"), Map({"a": 2}))
        self.assertEqual(second.without("c"), second)
        self.assertEqual(second, {"a": 2, "b": 1})
        self.assertEqual(hash(second), hash(Map({"b": 1}).set("a", 2)))
        with self.assertRaises(TypeError):
            second["c"] = 1  # type: ignore[index]


if __name__ == "__main__":
    unittest.main()
