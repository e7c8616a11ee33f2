"""A small guest for native tests."""

from dataclasses import dataclass
from typing import Any

from quipu_guest import U64, NewEvent, Rejection, decider, message


@message
class Deposit:
    amount: U64


@message
class Withdraw:
    amount: U64


@message(alias="created")
class Opened:
    """The first event."""


@message
class Deposited:
    amount: U64


@message
class Withdrawn:
    amount: U64


@dataclass(frozen=True)
class Account:
    balance: int = 0


def decide(account: Account, command: Any, context: Any) -> Any:
    match command:
        case Deposit(0):
            return None
        case Deposit(amount):
            teller = context.annotation("teller")
            if teller is None:
                return Deposited(amount)
            return NewEvent(
                Deposited(amount), [f"teller:{teller}"], {"at": str(context.accepted_at)}
            )
        case Withdraw(amount) if amount > account.balance:
            details = {"balance": account.balance}
            raise Rejection("insufficient-funds", f"the balance is {account.balance}", details)
        case Withdraw(amount):
            return [Withdrawn(amount)]


def evolve(account: Account, event: Any) -> Account:
    match event:
        case Deposited(amount):
            return Account(account.balance + amount)
        case Withdrawn(amount):
            return Account(account.balance - amount)
    return account


def make(**changes: Any) -> Any:
    fields: dict[str, Any] = {
        "commands": Deposit | Withdraw,
        "events": [Opened, Deposited, Withdrawn],
        "state": Account,
        "decide": decide,
        "evolve": evolve,
    }
    return decider(changes.pop("category", "account"), **{**fields, **changes})


guest = make()
