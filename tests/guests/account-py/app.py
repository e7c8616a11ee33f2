"""A bank account with the decisions, events and snapshots of ``example-guests/account``, which
describes the rules."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from quipu_guest import U64, Rejection, decider, message, replace

BALANCE_MAX = (1 << 53) - 1


@message
class Open:
    owner: str


@message
class Deposit:
    amount: int  # May be negative, which is rejected rather than unreadable.


@message
class Withdraw:
    amount: int


@message
class Close:
    pass


@message
class Opened:
    owner: str


@message
class Deposited:
    amount: U64


@message
class Withdrawn:
    amount: U64


@message
class Closed:
    pass


class Status(Enum):
    NONE = "none"
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True)
class Account:
    """The fields are in the order of the other guests' snapshots."""

    status: Status = Status.NONE
    owner: str = ""
    balance: U64 = 0


def decide(account: Account, command: Any, _: Any) -> Any:
    if account.status is Status.CLOSED:
        raise Rejection("closed", "the account is closed")
    if isinstance(command, Open):
        if account.status is Status.OPEN:
            raise Rejection("already-open", "the account is open")
        return Opened(command.owner)
    if account.status is Status.NONE:
        raise Rejection("not-open", "the account has not been opened")
    if isinstance(command, Close):
        return Closed()
    amount, balance = command.amount, account.balance
    if amount < 1:
        raise Rejection("invalid-amount", f"amount {amount}, at least 1")
    if isinstance(command, Deposit):
        if amount > BALANCE_MAX - balance:
            text = f"balance {balance}, deposit {amount}, at most {BALANCE_MAX}"
            raise Rejection("balance-limit", text)
        return Deposited(amount)
    if amount > balance:
        text = f"balance {balance}, withdrawal {amount}"
        raise Rejection("insufficient-funds", text, {"balance": balance})
    return Withdrawn(amount)


def evolve(account: Account, event: Any) -> Account:
    match event:
        case Opened(owner):
            return replace(account, status=Status.OPEN, owner=owner)
        case Deposited(amount):
            return replace(account, balance=account.balance + amount)
        case Withdrawn(amount):
            return replace(account, balance=max(0, account.balance - amount))
        case Closed():
            return replace(account, status=Status.CLOSED)
    return account


guest = decider(
    "account",
    version="0.1.0",
    commands=Open | Deposit | Withdraw | Close,
    events=[Opened, Deposited, Withdrawn, Closed],
    state=Account,
    decide=decide,
    evolve=evolve,
    rejections=[
        "not-open",
        "already-open",
        "closed",
        "invalid-amount",
        "insufficient-funds",
        "balance-limit",
    ],
)
