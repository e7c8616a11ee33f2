"""Lifts stored events of category `{{category}}` to the forms that its readers know."""

from quipu_guest import Steps, upcaster


def cents(old: dict) -> dict:
    """Version 1 has an amount in whole units, version 2 in cents."""
    return {"cents": old["amount"] * 100}


steps = Steps("{{category}}").lift("added", 1).map(cents).to(2)

guest = upcaster("{{name}}", steps)
