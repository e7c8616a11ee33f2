"""A guest as a host sees it: the component of the fixture ``bank``."""

import json
import random
import unittest
import uuid

from . import component
from .host import Instance, event, record

CLOCK = "a guest has no clock; use context.accepted_at"
CHANCE = "a guest has no randomness of its own; use context.random()"
ID = "a guest has no randomness of its own; use context.uuid()"
WORLD = "a guest has no files, network or processes"


def text_of(result):
    """The text of an error, or none for events."""
    return getattr(result, "payload", result if isinstance(result, str) else None)


class Component(unittest.TestCase):
    def setUp(self) -> None:
        self.instance: Instance = component.host("bank").instance()

    def misuse(self, what: str):
        aggregate = self.instance.open()
        return self.instance.decide(aggregate, "misuse", json.dumps({"what": what}))

    def check_fault(self, what: str, *parts: str) -> str:
        result = self.misuse(what)
        self.assertEqual(getattr(result, "tag", None), "internal", result)
        text = result.payload
        for part in parts:
            self.assertIn(part, text)
        self.assertLessEqual(len(text.encode()), 4096)
        return text


class Surface(Component):
    def test_imports_only_what_a_host_gives(self) -> None:
        imports = component.built("bank").surface.imports
        self.assertEqual(imports, ("quipu:domain/diagnostics@0.1.0", "quipu:domain/types@0.1.0"))

    def test_describes_its_types(self) -> None:
        info = self.instance.call("manifest", "describe")
        self.assertEqual((info.name, info.version), ("bank", "2.1.0"))
        self.assertEqual(getattr(info, "state-schema-version"), 2)
        self.assertEqual(info.migrations, [(1, 2)])
        named = [(it.type, getattr(it, "schema-version"), it.aliases) for it in info.events]
        self.assertEqual(
            named, [("opened", 1, ["created"]), ("deposited", 2, []), ("drawn", 1, [])]
        )
        schema = json.loads(getattr(info.events[1], "json-schema"))
        self.assertEqual(schema["required"], ["cents"])
        self.assertEqual(schema["properties"]["cents"]["type"], "integer")


class Decisions(Component):
    def test_decides_folds_and_restores(self) -> None:
        aggregate = self.instance.open("7")
        (opened,) = self.instance.decide(aggregate, "open", '{"owner":"Zoë"}')
        self.assertEqual((opened.type, opened.body), ("opened", '{"owner":"Zoë"}'))
        (deposited,) = self.instance.decide(aggregate, "deposit", '{"amount":5}')
        self.assertEqual(deposited.body, '{"cents":500}')
        self.assertEqual(getattr(deposited, "schema-version"), 2)
        self.assertEqual(deposited.tags, ["branch:7"])
        self.assertEqual(deposited.annotations, [("teller", "ann")])
        events = [event("opened", opened.body), event("deposited", deposited.body, 2, 2)]
        self.assertIsNone(self.instance.apply(aggregate, *events))
        state = '{"owners":["Zoë"],"cents":500}'
        self.assertEqual(self.instance.call("decider", "[method]aggregate.view", aggregate), state)
        snapshot = self.instance.call("decider", "[method]aggregate.snapshot", aggregate)
        self.assertEqual(snapshot.body, state)
        other = component.host("bank").instance()
        restored = other.open("7", (2, state))
        self.assertEqual(other.call("decider", "[method]aggregate.view", restored), state)

    def test_a_rejection_has_code_message_and_details(self) -> None:
        aggregate = self.instance.open()
        result = self.instance.decide(aggregate, "deposit", '{"amount":-1}')
        self.assertEqual(result.tag, "rejected")
        found = result.payload
        self.assertEqual((found.code, found.message), ("negative", "the amount is -1"))
        self.assertEqual(found.details, '{"amount":-1}')

    def test_a_command_that_cannot_be_read_is_a_bad_command(self) -> None:
        aggregate = self.instance.open()
        for body, part in (
            ('{"amount":"5"}', "amount: expected a whole number"),
            ("{}", "amount: the field is missing"),
            ("[5]", "expected an object, found an array"),
            ('{"amount":5,"amount":6}', "the field 'amount' is there twice"),
            ('{"amount":99999999999999999999}', "found 99999999999999999999"),
            ("[" * 128 + "]" * 128, "expected an object"),
        ):
            result = self.instance.decide(aggregate, "deposit", body)
            self.assertEqual(result.tag, "bad-command", body)
            self.assertIn(part, result.payload)
        result = self.instance.decide(aggregate, "burn")
        self.assertEqual((result.tag, result.payload), ("bad-command", "bank has no command burn"))
        result = self.instance.decide(aggregate, "draw", b"{}")
        self.assertIn("body is binary", result.payload)
        result = self.instance.decide(aggregate, "draw", schema_version=2)
        self.assertIn("schema version 2, expected 1", result.payload)

    def test_an_event_that_cannot_be_read_is_named(self) -> None:
        for given, tag, part in (
            (event("burnt", "{}"), "unknown-event", "bank has no event burnt"),
            (event("deposited", "{}"), "unknown-event", "schema version 1, expected 2"),
            (event("deposited", "{}", 1, 2), "bad-event", "cents: the field is missing"),
            (event("opened", '{"owner":"\\ud800"}'), "bad-event", "owner: expected a string"),
            (event("drawn", '{"text":"fail"}'), "internal", "rules.py"),
        ):
            result = self.instance.apply(self.instance.open(), given)
            self.assertEqual(result.tag, tag)
            self.assertIn(part, result.payload)

    def test_a_snapshot_that_cannot_be_read_is_no_fault_of_the_guest(self) -> None:
        for snapshot in ((1, "{}"), (2, "[]"), (2, "{"), (2, b"{}")):
            result = self.instance.open("1", snapshot)
            self.assertEqual(result.tag, "bad-event", snapshot)
            self.assertIn("snapshot", result.payload)

    def test_migrates_a_snapshot(self) -> None:
        old = record(state_schema_version=1, body='{"owners":["ann"],"euros":3}')
        new = self.instance.call("decider", "migrate", old)
        self.assertEqual(getattr(new, "state-schema-version"), 2)
        self.assertEqual(new.body, '{"owners":["ann"],"cents":300}')
        broken = record(state_schema_version=1, body="{}")
        self.assertIsNone(self.instance.call("decider", "migrate", broken))
        self.assertIn("KeyError", self.instance.lines[-1][1])


class Contexts(Component):
    def drawn(self, instance: Instance, **fields) -> list[str]:
        fields = {"annotations": [("who", "ann")], **fields}
        (found,) = instance.decide(instance.open("k-7"), "draw", **fields)
        return json.loads(found.body)["text"].split(" ")

    def test_time_ids_and_randomness_come_from_the_command(self) -> None:
        found = self.drawn(self.instance)
        self.assertEqual(found[:3], ["k-7", "c-1", "2023-11-14T22:13:20+00:00"])
        self.assertEqual(uuid.UUID(found[3]).version, 4)
        self.assertNotEqual(found[3], found[4])
        self.assertEqual(found[6:], ["True", "ann"])
        again = self.drawn(component.host("bank").instance())
        self.assertEqual(found, again)
        self.drawn(self.instance)
        self.assertEqual(found, self.drawn(self.instance))

    def test_another_seed_gives_other_ids_and_numbers(self) -> None:
        found, other = self.drawn(self.instance), self.drawn(self.instance, seed=(1, 2, 3, 5))
        for place in (3, 4, 5):
            self.assertNotEqual(found[place], other[place])

    def test_the_native_context_gives_the_same(self) -> None:
        from quipu_guest import Context

        context = Context(seed=(1, 2, 3, 4))
        found = self.drawn(self.instance)
        native = [str(context.uuid()), str(context.uuid())]
        self.assertEqual(found[3:5], native)
        self.assertEqual(found[5], str(context.random().randint(1, 1_000_000)))


class Purity(Component):
    def test_clocks_are_refused_with_the_remedy(self) -> None:
        for what, name in (
            ("time", "time.time"),
            ("imported-time", "time.time"),
            ("localtime", "time.localtime"),
            ("sleep", "time.sleep"),
            ("now", "datetime.datetime.now"),
            ("imported-now", "datetime.datetime.now"),
            ("today", "datetime.date.today"),
        ):
            self.check_fault(what, f"{name}: {CLOCK}", "rules.py:")

    def test_randomness_is_refused_with_the_remedy(self) -> None:
        for what, sentence in (
            ("random", f"random.random: {CHANCE}"),
            ("shuffle", f"random.shuffle: {CHANCE}"),
            ("unseeded", f"random.Random(): {CHANCE}"),
            ("uuid4", f"uuid.uuid4: {ID}"),
            ("uuid1", f"uuid.uuid1: {ID}"),
            ("urandom", "os.urandom: a guest has no randomness of its own"),
            ("secrets", "secrets.token_hex: a guest has no randomness of its own"),
        ):
            self.check_fault(what, sentence, "rules.py:")

    def test_files_and_late_imports_are_refused(self) -> None:
        self.check_fault("open", f"open: {WORLD}")
        self.check_fault("listdir", f"os.listdir: {WORLD}")
        self.check_fault("import", "import of colorsys in a call", "top of the module")

    def test_what_was_read_at_build_time_and_a_fixed_seed_are_allowed(self) -> None:
        (rates,) = self.misuse("rates")
        self.assertEqual(json.loads(rates.body)["text"], "1.5 2.5")
        (seeded,) = self.misuse("seeded")
        self.assertEqual(json.loads(seeded.body)["text"], str(random.Random(5).random()))

    def test_prints_go_to_the_log(self) -> None:
        self.assertEqual(self.misuse("print"), [])
        self.assertEqual(self.misuse("log"), [])
        self.assertEqual(self.instance.lines, [("info", "a line 5"), ("warn", "a warning")])


class Faults(Component):
    def test_a_fault_has_the_guests_own_traceback(self) -> None:
        text = self.check_fault("deep", "ZeroDivisionError: a fee of nothing")
        self.assertIn("\n  rules.py:", text)
        self.assertIn("in fail_deep: fail_deep(depth - 1)", text)
        self.assertIn('in fail_deep: raise ZeroDivisionError("a fee of nothing")', text)
        self.assertNotIn("driver.py", text)
        self.assertNotIn("quipu_guest", text)

    def test_the_text_of_a_fault_is_bounded(self) -> None:
        self.check_fault("long", "ValueError: xxx")
        self.check_fault("recursion", "RecursionError", "outer frames")

    def test_every_kind_of_failure_is_a_fault_and_the_next_call_works(self) -> None:
        for what, part in (
            ("exit", "SystemExit: 3"),
            ("foreign", "a value of type object, which is not among the events of bank"),
            ("too-many", "more than 1000 events"),
            ("bad-event", "deposited.cents: expected a whole number"),
            ("surrogate", "drawn.text: expected a string"),
            ("bad-details", "details of the rejection no"),
            ("memory", "MemoryError"),
        ):
            self.check_fault(what, part)
            aggregate = self.instance.open()
            self.assertEqual(len(self.instance.decide(aggregate, "deposit", '{"amount":1}')), 1)

    def test_text_without_a_form_in_utf8_is_escaped_in_a_rejection(self) -> None:
        found = self.misuse("surrogate-rejection").payload
        self.assertEqual((found.code, found.message), ("no-\\udfff", "\\ud800"))

    def test_a_decision_that_changes_the_state_is_a_fault(self) -> None:
        aggregate = self.instance.open()
        result = self.instance.decide(aggregate, "misuse", '{"what":"mutate"}')
        self.assertIn("decide changed the state at command misuse", result.payload)
        view = self.instance.call("decider", "[method]aggregate.view", aggregate)
        self.assertEqual(view, '{"owners":[],"cents":0}')


class Upcasters(Component):
    def test_declares_and_runs_steps(self) -> None:
        steps = self.instance.call("upcaster", "steps")
        self.assertEqual(
            [(it.category, it.type, getattr(it, "from-version"), it.to) for it in steps],
            [
                ("bank", "deposited", 1, [("deposited", 2)]),
                ("bank", "noted", 1, []),
                ("bank", "corrected", 1, [("drawn", 1), ("deposited", 2)]),
            ],
        )
        given = [event("deposited", '{"amount":3}'), event("deposited", '{"amount":4}')]
        found = self.instance.call("upcaster", "upcast", 0, given)
        self.assertEqual(
            [[it.body for it in parts] for parts in found], [['{"cents":300}'], ['{"cents":400}']]
        )
        self.assertEqual(self.instance.call("upcaster", "upcast", 1, [event("noted", "{")]), [[]])
        (parts,) = self.instance.call("upcaster", "upcast", 2, [event("corrected", '{"to":7}')])
        self.assertEqual(
            [(it.type, it.body) for it in parts],
            [("drawn", '{"text":"corrected"}'), ("deposited", '{"cents":7}')],
        )

    def test_an_event_that_does_not_fit_is_named(self) -> None:
        result = self.instance.call("upcaster", "upcast", 0, [event("deposited", "{}")])
        self.assertEqual(result.tag, "bad-event")
        self.assertIn(
            "event deposited of schema version 1: body does not fit: amount", result.payload
        )
        result = self.instance.call("upcaster", "upcast", 9, [])
        self.assertEqual((result.tag, result.payload), ("internal", "no step 9; there are 3"))


class Projections(Component):
    def recorded(self, given, **fields):
        return record(
            event=given,
            id=(1, 2),
            stream="bank-7",
            position=3,
            part=0,
            tags=[],
            annotations=fields.get("annotations", []),
        )

    def test_defines_keys_and_documents(self) -> None:
        (definition,) = self.instance.call("projection", "define")
        self.assertEqual((definition.name, definition.version), ("balances", 3))
        self.assertEqual(definition.detail, {"annotations"})
        self.assertEqual(
            [(it.name, it.pointer, it.kind) for it in definition.indexes],
            [("owner", "/owner", "text"), ("cents", "/cents", "integer")],
        )
        opened = self.recorded(event("opened", '{"owner":"ann"}'))
        self.assertEqual(self.instance.call("projection", "keys", "balances", [opened]), [["7"]])
        deposited = self.recorded(
            event("deposited", '{"cents":5}', 2, 2), annotations=[("teller", "bob")]
        )
        work = record(key="7", document=None, events=[opened, deposited])
        (document,) = self.instance.call("projection", "apply", "balances", [work])
        self.assertEqual(
            json.loads(document),
            {"owner": "ann", "cents": 5, "at": "1970-01-01T00:00:00+00:00", "teller": "bob"},
        )
        removed = self.recorded(event("deposited", '{"cents":-5}', 2, 2))
        work = record(key="7", document=document, events=[removed])
        self.assertEqual(self.instance.call("projection", "apply", "balances", [work]), [None])

    def test_what_it_cannot_read_is_named(self) -> None:
        drawn = self.recorded(event("drawn", '{"text":""}'))
        result = self.instance.call("projection", "keys", "balances", [drawn])
        self.assertEqual(result.tag, "unknown-event")
        result = self.instance.call("projection", "keys", "elsewhere", [])
        self.assertEqual((result.tag, result.payload), ("internal", "no projection elsewhere"))
        work = record(key="7", document="[]", events=[])
        result = self.instance.call("projection", "apply", "balances", [work])
        self.assertIn("balances 7: cannot be read", result.payload)


if __name__ == "__main__":
    unittest.main()
