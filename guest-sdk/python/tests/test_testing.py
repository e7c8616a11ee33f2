"""The native tests that authors write: they pass, and they fail readably."""

import datetime
import random
import time
import unittest
import uuid
from datetime import datetime as imported_datetime
from time import time as imported_time
from typing import Any

from quipu_guest import (
    EVERY,
    Context,
    NewEvent,
    Steps,
    Unfit,
    Untyped,
    message,
    migration,
    projection,
)
from quipu_guest.testing import (
    check_folding,
    check_random,
    given,
    lifted,
    migrated,
    projected,
)

from . import accounts
from .accounts import Account, Deposit, Deposited, Opened, Withdraw, Withdrawn, guest


class Failing(unittest.TestCase):
    def fails(self, *parts: str) -> Any:
        case = self

        class Expected:
            def __enter__(self) -> None:
                pass

            def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
                case.assertIsInstance(error, AssertionError)
                for part in parts:
                    case.assertIn(part, str(error))
                return True

        return Expected()


class Deciders(Failing):
    def test_given_when_then(self) -> None:
        given(guest, Deposited(5)).when(Withdraw(3)).then(Withdrawn(3))
        given(guest).when(Withdraw(3)).rejected("insufficient-funds", details={"balance": 0})
        given(guest).when(Deposit(0)).nothing()
        after = given(guest).commands(Deposit(5), Withdraw(2))
        self.assertEqual((after.state, after.view), (Account(3), {"balance": 3}))
        following = given(guest).when(Deposit(5)).then(Deposited(5)).when(Withdraw(5))
        self.assertEqual(following.then(Withdrawn(5)).state, Account(0))

    def test_time_seed_and_annotations_are_fixed(self) -> None:
        start = given(guest).at("2026-01-31T12:00:00+00:00").annotation("teller", "ann")
        start.when(Deposit(5)).then(
            NewEvent(Deposited(5), ["teller:ann"], {"at": "2026-01-31 12:00:00+00:00"})
        )
        context = given(guest).seed(7).key("k").command_id("c").context()
        self.assertEqual((context.seed, context.key, context.command_id), ((7, 0, 0, 0), "k", "c"))
        with self.assertRaisesRegex(ValueError, "has no offset"):
            given(guest).at("2026-01-31T12:00:00")

    def test_failures_show_what_differs(self) -> None:
        start = given(guest, Deposited(5))
        with self.fails("-     amount=4", "+     amount=3"):
            start.when(Withdraw(3)).then(Withdrawn(4))
        with self.fails("rejected: insufficient-funds: the balance is 5"):
            start.when(Withdraw(6)).then(Withdrawn(6))
        with self.fails("accepted: [Withdrawn(amount=3)]; expected the rejection no"):
            start.when(Withdraw(3)).rejected("no")
        with self.fails("the rejection differs"):
            start.when(Withdraw(6)).rejected("no")
        with self.fails("the details of insufficient-funds differ"):
            start.when(Withdraw(6)).rejected("insufficient-funds", details={"balance": 6})
        with self.fails("the message of insufficient-funds differs"):
            start.when(Withdraw(6)).rejected("insufficient-funds", message="no")
        with self.fails("given command", "insufficient-funds"):
            given(guest).commands(Withdraw(1))
        with self.fails("Deposit is not an event of account"):
            given(guest, Deposit(5))
        with self.fails("Deposited is not a command of account"):
            given(guest).when(Deposited(5))

    def test_a_state_that_a_snapshot_changes_is_found(self) -> None:
        broken = accounts.make(state=Any, initial=lambda: 0, evolve=lambda state, event: (1, 2))
        with self.fails("a snapshot changes the state"):
            given(broken, Opened())

    def test_migrations(self) -> None:
        newer = accounts.make(
            state_schema_version=2,
            migrations=[migration(1, 2, lambda old: {"balance": old["euros"] * 100})],
        )
        self.assertEqual(migrated(newer, 1, '{"euros":3}').state, Account(300))
        with self.fails("has no migration"):
            migrated(newer, 1, "{}")


class Properties(Failing):
    def test_good_deciders_pass(self) -> None:
        check_folding(guest, Deposited(5), Withdrawn(2), Opened())
        check_random(
            guest,
            lambda chance, account: chance.choice([Deposit, Withdraw])(chance.randrange(10)),
            invariant=lambda account: account.balance >= 0,
        )

    def test_a_shared_state_is_found(self) -> None:
        shared: dict[str, int] = {"balance": 0}

        def evolve(state: dict[str, int], event: Any) -> dict[str, int]:
            state["balance"] += 1
            return state

        broken = accounts.make(state=dict[str, int], initial=lambda: shared, evolve=evolve)
        with self.fails("leads to another state"):
            check_folding(broken, Opened(), Opened())

    def test_a_decision_that_depends_on_more_than_the_state_is_found_with_its_seed(self) -> None:
        calls = []

        def decide(account: Account, command: Any) -> Any:
            calls.append(1)
            return Deposited(len(calls))

        broken = accounts.make(decide=decide)
        with self.fails("seed=12: after a snapshot, Deposit(amount=1) is decided differently"):
            check_random(broken, lambda chance, account: Deposit(1), seed=12)

    def test_a_broken_invariant_is_found(self) -> None:
        with self.fails("seed=", "the invariant is false of Account(balance="):
            check_random(
                guest, lambda *_: Deposit(4), invariant=lambda account: account.balance < 9
            )


class Purity(Failing):
    def check(self, use: Any, *parts: str) -> None:
        impure = accounts.make(decide=lambda account, command, context: use(context))
        with self.fails(*parts):
            given(impure).when(Deposit(1))

    def test_clocks_randomness_and_files_fail_natively_however_they_were_imported(self) -> None:
        self.check(lambda _: time.time(), "time.time: a guest has no clock; use context")
        self.check(lambda _: imported_time(), "time.time: a guest has no clock")
        self.check(lambda _: imported_datetime.now(), "datetime.datetime.now: a guest has no clock")
        self.check(lambda _: datetime.date.today(), "datetime.date.today: a guest has no clock")
        self.check(lambda _: random.random(), "random.random: a guest has no randomness")
        self.check(lambda _: random.choice([1]), "random.choice: a guest has no randomness")
        self.check(lambda _: random.Random(), "random.Random(): a guest has no randomness")
        self.check(
            lambda _: uuid.uuid4(), "uuid.uuid4: a guest has no randomness", "context.uuid()"
        )
        self.check(lambda _: open("x"), "open: a guest has no files")
        self.check(lambda _: __import__("this"), "import of this in a call")

    def test_seeded_randomness_is_allowed(self) -> None:
        def use(context: Context) -> Any:
            number = context.random().randint(1, 6) + random.Random(5).randrange(3)
            return Deposited(number + context.uuid().version)

        pure = accounts.make(decide=lambda account, command, context: use(context))
        given(pure).seed(3).when(Deposit(1)).then(given(pure).seed(3).when(Deposit(1)).events[0])

    def test_nothing_is_watched_after_a_call(self) -> None:
        given(guest).when(Deposit(1))
        self.assertGreater(time.time(), 0)


@message
class Euros:
    amount: int


class Upcasters(Failing):
    steps = (
        Steps("account")
        .lift("created", 1)
        .rename_type("opened")
        .rename_field("name", "owner")
        .add_field("vip", False)
        .remove_field("age")
        .to(1)
        .lift("deposited", 1)
        .map(lambda old: {"amount": old["euros"] * 100})
        .to(2)
        .lift("deposited", 2)
        .add_field("note", "")
        .to(3)
        .lift("gone", 1)
        .drop()
    )

    def test_steps_are_a_chain(self) -> None:
        lifted(self.steps, "created", 1, {"name": "ann", "age": 5}).to(
            ("opened", 1, {"owner": "ann", "vip": False})
        )
        lifted(self.steps, "deposited", 1, '{"euros":3}').to(
            ("deposited", 3, {"amount": 300, "note": ""})
        )
        lifted(self.steps, "gone", 1, "{}").to()
        lifted(self.steps, "other", 1, "{}").to(("other", 1, {}))

    def test_one_event_becomes_several(self) -> None:
        steps = (
            Steps("account")
            .lift("moved", 1)
            .split(
                [("withdrawn", 1), ("deposited", 1)],
                lambda old: [("withdrawn", 1, {"amount": it}) for it in old["amounts"]],
            )
        )
        lifted(steps, "moved", 1, {"amounts": [1, 2]}).read_by(guest, Withdrawn(1), Withdrawn(2))
        lifted(steps, "moved", 1, {"amounts": []}).read_by(guest)

    def test_failures_name_the_event(self) -> None:
        with self.fails("event deposited of schema version 1: KeyError: 'euros'"):
            lifted(self.steps, "deposited", 1, {})
        with self.fails("the lifted events differ"):
            lifted(self.steps, "gone", 1, {}).to(("gone", 1, {}))
        with self.fails("does not read event deposited of schema version 3"):
            lifted(self.steps, "deposited", 2, {}).read_by(guest, Deposited(1))
        undeclared = Steps("a").lift("x", 1).split([("y", 1)], lambda old: [("z", 1, {})])
        with self.fails("event z of schema version 1, which it does not declare"):
            lifted(undeclared, "x", 1, {})

        def refuse(old: Any) -> Any:
            raise Unfit("nobody knows this form")

        with self.fails("body does not fit: nobody knows this form"):
            lifted(Steps("a").lift("x", 1).map(refuse).to(2), "x", 1, {})

    def test_numbers_that_a_step_does_not_change_keep_their_digits(self) -> None:
        result = lifted(self.steps, "deposited", 2, '{"amount":1.10,"rate":1E5}')
        self.assertEqual(result.events[0].body, '{"amount":1.10,"rate":1E5,"note":""}')


class Projections(Failing):
    def make(self, **changes: Any) -> Any:
        def apply(document: Any, key: str, event: Any) -> Any:
            if isinstance(event.event, Withdrawn):
                return None
            at = event.recorded_at.year
            return {
                "balance": (document or {"balance": 0})["balance"] + event.event.amount,
                "at": at,
            }

        fields: dict[str, Any] = {
            "sources": {"account": [Deposited, Withdrawn]},
            "keys": lambda event: [event.key, "all"],
            "apply": apply,
        }
        return projection("balances", **{**fields, **changes})

    def test_documents_are_folded(self) -> None:
        documents = (
            projected(self.make())
            .at("2026-01-31T12:00:00+00:00")
            .event("account-1", Deposited(5))
            .event("account-2", Deposited(6))
            .event("account-2", Withdrawn(6))
        )
        self.assertEqual(documents.documents(), {"1": {"balance": 5, "at": 2026}})

    def test_failures_name_the_event(self) -> None:
        with self.fails("no event opened of account is read"):
            projected(self.make()).event("account-1", Opened())
        with self.fails("events of loan are not read"):
            projected(self.make()).event("loan-1", Deposited(1))
        with self.fails("balances: event deposited of account-1 version 1: a key is there twice"):
            projected(self.make(keys=lambda event: ["a", "a"])).event("account-1", Deposited(1))
        with self.fails("is not 1 to 255 bytes"):
            projected(self.make(keys=lambda event: [""])).event("account-1", Deposited(1))
        with self.fails("has no form in JSON"):
            projected(self.make(apply=lambda *_: object())).event("account-1", Deposited(1))

    def test_all_events_can_be_read_untyped(self) -> None:
        every = projection(
            "types",
            sources={EVERY: Untyped},
            keys=lambda event: [event.event.type],
            apply=lambda document, key, event: [*(document or []), event.stream],
            document=list[str],
        )
        documents = projected(every).event("a-1", Opened()).stored("b-2", "opened", 9, {})
        self.assertEqual(documents.document("opened"), ["a-1", "b-2"])

    def test_tags_and_annotations_are_there_only_if_asked_for(self) -> None:
        def seen(**changes: Any) -> Any:
            apply = lambda document, key, event: [list(event.tags), event.annotation("who")]
            made = self.make(apply=apply, document=Any, **changes)
            documents = projected(made).tag("a:b").annotation("who", "ann")
            return documents.event("account-1", Deposited(1)).document("1")

        self.assertEqual(seen(), [[], None])
        self.assertEqual(seen(tags=True, annotations=True), [["a:b"], "ann"])


if __name__ == "__main__":
    unittest.main()
