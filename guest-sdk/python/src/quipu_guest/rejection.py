"""Rejections: the domain says no."""

from __future__ import annotations

from typing import Any


class Rejection(Exception):
    """The domain says no. Raise it in ``decide``; nothing is stored.

    ``code`` is for programs and stable: ``insufficient-funds``. ``message`` is for people; the
    host cuts it at 4 KiB. ``details`` is any value that has a form in JSON.
    """

    def __init__(self, code: str, message: str, details: Any = None) -> None:
        super().__init__(code, message, details)
        self.code = code
        self.message = message
        self.details = details

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"
