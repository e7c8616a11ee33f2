"""Documents about the streams of category `{{category}}`: one for each stream."""

from dataclasses import dataclass, replace

from quipu_guest import U64, Index, Recorded, message, projection, projections


@message
class Opened:
    title: str


@message
class Added:
    amount: U64


Event = Opened | Added


@dataclass(frozen=True)
class Document:
    title: str = ""
    total: int = 0


def keys(recorded: Recorded[Event]) -> list[str]:
    return [recorded.key]


def apply(document: Document | None, key: str, recorded: Recorded[Event]) -> Document | None:
    before = document or Document()
    match recorded.event:
        case Opened(title):
            return replace(before, title=title)
        case Added(amount):
            return replace(before, total=before.total + amount)


totals = projection(
    "{{name}}",
    # Raise it when the documents would differ: they are rebuilt, and then take over.
    version=1,
    sources={"{{category}}": [Opened, Added]},
    document=Document,
    keys=keys,
    apply=apply,
    indexes=[Index("total", "/total", "integer")],
)

guest = projections("{{name}}", totals, version="0.1.0")
