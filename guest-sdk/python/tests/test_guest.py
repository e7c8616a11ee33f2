"""Definitions of guests, and what a host would refuse."""

import json
import unittest
from dataclasses import dataclass
from typing import Any

from quipu_guest import (
    DefinitionError,
    Index,
    NewEvent,
    Rejection,
    Steps,
    decider,
    message,
    migration,
    projection,
    projections,
    upcaster,
)
from quipu_guest.context import Context
from quipu_guest.driver import Driver
from quipu_guest.errors import BadCommand, BadEvent, Internal, UnknownEvent
from quipu_guest.guest import guest_in, guest_of
from quipu_guest.manifest import manifest_of
from quipu_guest.message import kebab

from . import accounts


@message
class Missing:
    """An event that the decider does not name."""


class Definitions(unittest.TestCase):
    def refuse(self, part: str, make: Any) -> None:
        with self.assertRaises(DefinitionError) as raised:
            make()
        self.assertIn(part, str(raised.exception))

    def test_a_name_is_the_class_name_in_kebab_case(self) -> None:
        for name, expected in (
            ("OfferSent", "offer-sent"),
            ("HTTPCall", "http-call"),
            ("Offer2Sent", "offer2-sent"),
            ("Open_", "open"),
            ("A", "a"),
        ):
            self.assertEqual(kebab(name), expected)

    def test_mistakes_of_a_decider_are_named(self) -> None:
        make = accounts.make
        self.refuse("category 'Account'", lambda: make(category="Account"))
        self.refuse("version '1.0'", lambda: make(version="1.0"))
        self.refuse("int is not a dataclass; decorate it by @message", lambda: make(events=[int]))
        self.refuse("at least one is needed", lambda: make(commands=[]))
        self.refuse("two types are called deposit", lambda: make(commands=[accounts.Deposit] * 2))
        self.refuse("Deposit is a command and an event", lambda: make(events=accounts.Deposit))
        self.refuse("a set has no order", lambda: make(state=set[str]))
        self.refuse("needs state, decide and evolve", lambda: make(evolve=None))
        self.refuse("state_schema_version 0", lambda: make(state_schema_version=0))
        other = Steps("loan").lift("a", 1).drop()
        self.refuse("its upcasts are of loan", lambda: make(upcasts=other))

    def test_migrations_are_a_chain_without_gaps(self) -> None:
        def make(current: int, *steps: tuple[int, int]) -> Any:
            migrations = [migration(*step, lambda old: old) for step in steps]
            return lambda: accounts.make(state_schema_version=current, migrations=migrations)

        make(4, (3, 4), (1, 3))()
        self.refuse("from 1 leads to 2, the next one begins at 3", make(4, (1, 2), (3, 4)))
        self.refuse("from 1 leads to 2, the next one begins at 3", make(3, (1, 2)))
        self.refuse("it has to lead to a later version", make(2, (2, 2)))

    def test_mistakes_of_messages_are_named(self) -> None:
        class Plain:
            pass

        self.refuse("schema version 0", lambda: message(version=0)(Plain))
        self.refuse("is not 1 to 255 bytes", lambda: message(name="é" * 128)(Plain))
        self.refuse("unchanged_since is 3", lambda: message(version=2, unchanged_since=3)(Plain))

    def test_mistakes_of_steps_are_named(self) -> None:
        steps = Steps("a")
        self.refuse(
            "two steps from event x of schema version 1",
            steps.lift("x", 1).drop().lift("x", 1).to(2).check,
        )
        self.refuse("it has to lead to a later version", steps.lift("x", 2).to(2).check)
        self.refuse("schema versions begin at 1", steps.lift("x", 0).to(2).check)
        circle = steps.lift("x", 1).rename_type("y").to(1).lift("y", 1).rename_type("x").to(1)
        self.refuse("lead back to it", circle.check)

    def test_mistakes_of_projections_are_named(self) -> None:
        def make(**changes: Any) -> Any:
            fields: dict[str, Any] = {
                "sources": {"account": accounts.Deposited},
                "keys": lambda event: [],
                "apply": lambda document, key, event: None,
            }
            return lambda: projection(changes.pop("name", "views"), **{**fields, **changes})

        self.refuse("projection 'Views'", make(name="Views"))
        self.refuse("0 sources", make(sources={}))
        self.refuse("version 0", make(version=0))
        self.refuse("use Untyped to read all types", make(sources={"a": []}))
        self.refuse("17 indexes, at most 16", make(indexes=[Index("a", "/a", "text")] * 17))
        self.refuse("kind 'words'", lambda: Index("a", "/a", "words"))
        self.refuse("begins without /", lambda: Index("a", "a", "text"))
        self.refuse(
            "two projections are called views", lambda: projections("v", make()(), make()())
        )
        self.refuse("at least one projection", lambda: projections("v"))
        self.refuse("Steps of at least one category", lambda: upcaster("u"))

    def test_a_module_defines_one_guest(self) -> None:
        guest, other = accounts.guest, accounts.make()
        self.assertIs(guest_in({"a": 1, "guest": guest, "same": guest}, "app.py"), guest)
        self.refuse("app.py defines no guest", lambda: guest_in({"a": 1}, "app.py"))
        self.refuse("app.py defines a and b", lambda: guest_in({"a": guest, "b": other}, "app.py"))
        self.refuse("is not a guest", lambda: guest_of(5))

    def test_a_class_may_be_the_decider(self) -> None:
        @decider("lamp", commands=[accounts.Deposit], events=[accounts.Opened], version="2.0.0")
        @dataclass(frozen=True)
        class Lamp:
            is_on: bool = False

            def decide(self, command: Any, context: Context) -> Any:
                return accounts.Opened()

            def evolve(self, event: Any) -> Any:
                return Lamp(not self.is_on)

            def view(self) -> Any:
                return {"lamp": "on" if self.is_on else "off"}

            @staticmethod
            def tags(event: Any) -> list[str]:
                return ["room:kitchen"]

        guest = guest_of(Lamp)
        assert guest.decider is not None
        driver = Driver(guest.decider, "1")
        (event,) = driver.decide("deposit", 1, '{"amount":1}', Context())
        self.assertEqual((event.type, event.tags), ("opened", ["room:kitchen"]))
        driver.apply("opened", 1, "null")
        self.assertEqual(driver.view(), '{"lamp":"on"}')
        self.assertEqual(guest.version, "2.0.0")


class Manifests(unittest.TestCase):
    def test_a_manifest_has_names_versions_and_aliases(self) -> None:
        @message(version=3, unchanged_since=2)
        class Moved:
            pass

        manifest = manifest_of(accounts.make(events=[accounts.Opened, Moved], version="1.2.3"))
        self.assertEqual((manifest.name, manifest.version), ("account", "1.2.3"))
        self.assertEqual([it.name for it in manifest.commands], ["deposit", "withdraw"])
        self.assertEqual(manifest.events[0].aliases, ("created",))
        self.assertEqual(manifest.events[1].schema_version, 3)
        self.assertEqual(manifest.annotations, (("unchanged.moved", "2"),))

    def test_declared_codes_are_in_the_manifest_and_must_be_words(self) -> None:
        manifest = manifest_of(accounts.make(rejections=["not-open", "closed"]))
        self.assertIn(("rejections", "not-open closed"), manifest.annotations)
        with self.assertRaisesRegex(DefinitionError, "'not open' is no code"):
            accounts.make(rejections=["not open"])
        with self.assertRaisesRegex(DefinitionError, "a is there twice"):
            accounts.make(rejections=["a", "a"])

    def test_the_schemas_of_documents_are_in_the_manifest(self) -> None:
        @message
        class Moved:
            pass

        @dataclass
        class Balance:
            cents: int

        def views(name: str, document: Any) -> Any:
            return projection(
                name,
                sources={"account": [Moved]},
                keys=lambda event: [event.key],
                apply=lambda document, key, event: document,
                document=document,
            )

        manifest = manifest_of(projections("views", views("all", dict), views("balances", Balance)))
        [(name, schema)] = manifest.annotations
        self.assertEqual(name, "document-schema.balances")
        self.assertEqual(json.loads(schema)["properties"]["cents"]["type"], "integer")
        self.assertEqual(json.loads(schema)["required"], ["cents"])

    def test_a_guest_without_a_decider_has_a_name_only(self) -> None:
        manifest = manifest_of(upcaster("steps", Steps("a").lift("x", 1).drop()))
        self.assertEqual((manifest.name, manifest.state_schema_version), ("steps", 0))
        self.assertEqual(manifest.commands + manifest.events, ())


class Drivers(unittest.TestCase):
    def driver(self, **changes: Any) -> Driver:
        return Driver(accounts.make(**changes).decider, "1")

    def decide(self, driver: Driver, name: str = "deposit", body: str = '{"amount":5}') -> Any:
        return driver.decide(name, 1, body, Context())

    def test_an_alias_is_read(self) -> None:
        driver = self.driver()
        driver.apply("created", 1, "{}")
        driver.apply("opened", 1, "null")

    def test_messages_that_cannot_be_read_are_named(self) -> None:
        driver = self.driver()
        with self.assertRaisesRegex(BadCommand, "account has no command burn"):
            self.decide(driver, "burn")
        with self.assertRaisesRegex(BadCommand, "amount: expected a whole number from 0"):
            self.decide(driver, body='{"amount":-5}')
        with self.assertRaisesRegex(UnknownEvent, "account has no event burnt"):
            driver.apply("burnt", 1, "{}")
        with self.assertRaisesRegex(UnknownEvent, "schema version 2, expected 1"):
            driver.apply("deposited", 2, "{}")
        with self.assertRaisesRegex(BadEvent, "event deposited: body does not fit: amount"):
            driver.apply("deposited", 1, "{}")

    def test_a_snapshot_that_cannot_be_read_is_no_fault_of_the_guest(self) -> None:
        for snapshot, part in (
            ((2, '{"balance":1}'), "state schema version 2, expected 1"),
            ((1, "null"), "expected an object, found null"),
            ((1, '{"balance":"x"}'), "balance: expected a whole number"),
            ((1, "{"), "snapshot of account"),
        ):
            with self.subTest(part), self.assertRaises(BadEvent) as raised:
                Driver(accounts.guest.decider, "1", snapshot)
            self.assertIn(part, str(raised.exception))

    def test_wrong_results_are_faults(self) -> None:
        missing = (
            "decide returned a value of type Missing, which is not among the events of account; "
            "add Missing to events= of the decider"
        )
        for decide, part in (
            (lambda *_: Missing(), missing),
            (lambda *_: [Missing()], missing),
            (lambda *_: NewEvent(Missing()), missing),
            (lambda *_: 5, "not iterable"),
            (lambda *_: ["x"], "a value of type str"),
            (lambda *_: Rejection("no", ""), "decide returned a Rejection; raise it"),
            (lambda *_: accounts.Deposited(-1), "deposited.amount: expected a whole number"),
            (lambda *_: 1 / 0, "ZeroDivisionError"),
        ):
            with self.subTest(part), self.assertRaises(Internal) as raised:
                self.decide(self.driver(decide=decide))
            self.assertIn(part, str(raised.exception))
        with self.assertRaisesRegex(Internal, "evolve returned None; return the state"):
            self.driver(evolve=lambda *_: None).apply("opened", 1, "{}")

    def test_tags_and_annotations_are_checked(self) -> None:
        for tags, part in (
            (["plain"], "the tag 'plain' is not a name:value"),
            (["a:" + "x" * 254], "at most 255 bytes"),
            (["a:b"] * 65, "65 tags"),
            ([5], "the tag 5"),
        ):
            with self.subTest(part), self.assertRaises(Internal) as raised:
                self.decide(self.driver(tags=lambda event, tags=tags: tags))
            self.assertIn(part, str(raised.exception))
        self.assertEqual(len(self.decide(self.driver(tags=lambda event: ["a:b"] * 64))[0].tags), 64)

    def test_decide_may_not_change_a_state_that_can_change(self) -> None:
        def decide(state: dict[str, int], command: Any) -> Any:
            state["balance"] = 7
            return None

        driver = self.driver(state=dict[str, int], initial=lambda: {"balance": 0}, decide=decide)
        with self.assertRaisesRegex(Internal, "decide changed the state at command deposit"):
            self.decide(driver)
        self.assertEqual(driver.state, {"balance": 0})

    def test_a_decision_may_be_repeated(self) -> None:
        driver = self.driver()
        driver.apply("deposited", 1, '{"amount":9}')
        first = [(it.type, it.body) for it in self.decide(driver, "withdraw")]
        self.assertEqual(first, [(it.type, it.body) for it in self.decide(driver, "withdraw")])
        self.assertEqual(driver.snapshot(), (1, '{"balance":9}'))


if __name__ == "__main__":
    unittest.main()
