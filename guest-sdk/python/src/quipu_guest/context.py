"""What a decision may depend on in addition to state and command."""

from __future__ import annotations

import datetime
import hashlib
import random
import struct
import uuid

Seed = tuple[int, int, int, int]
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_MICROSECOND = datetime.timedelta(microseconds=1)
_Random, _UUID, _sha256 = random.Random, uuid.UUID, hashlib.sha256


def time_of(microseconds: int) -> datetime.datetime:
    """Returns the time of a number of microseconds since 1970 UTC."""
    return _EPOCH + microseconds * _MICROSECOND


def microseconds_of(time: datetime.datetime) -> int:
    """Returns a time in microseconds since 1970 UTC. It must have an offset."""
    if time.tzinfo is None:
        raise ValueError(f"the time {time} has no offset; add tzinfo=timezone.utc")
    return (time - _EPOCH) // _MICROSECOND


class Context:
    """The data of one command. The host records it, so the decision can be replayed."""

    __slots__ = (
        "key",
        "command_id",
        "accepted_at_us",
        "seed",
        "annotations",
        "_random",
        "_uuids",
    )

    def __init__(
        self,
        key: str = "1",
        command_id: str = "",
        accepted_at_us: int = 0,
        seed: Seed = (0, 0, 0, 0),
        annotations: tuple[tuple[str, str], ...] = (),
    ) -> None:
        #: The stream's id without its category: ``173688`` of ``loan-173688``.
        self.key = key
        #: The idempotency key, equal on every retry.
        self.command_id = command_id
        #: When the host accepted the request, in microseconds since 1970 UTC.
        self.accepted_at_us = accepted_at_us
        #: 256 random bits, derived from the stream and the command's id.
        self.seed = seed
        #: The members of the caller's metadata, and the host's under ``quipu.``.
        self.annotations = annotations
        self._random: random.Random | None = None
        self._uuids = 0

    @property
    def accepted_at(self) -> datetime.datetime:
        """When the host accepted the request: a time in UTC. It is the only clock."""
        return time_of(self.accepted_at_us)

    def annotation(self, name: str) -> str | None:
        """Returns the first annotation of that name."""
        return next((value for known, value in self.annotations if known == name), None)

    def random(self) -> random.Random:
        """Returns the random generator of this command, seeded from its seed.

        Every call returns the same generator, which goes on where it was.
        """
        if self._random is None:
            self._random = _Random(int.from_bytes(self._bytes(), "big"))
        return self._random

    def uuid(self) -> uuid.UUID:
        """Returns the next UUID of this command, of version 4, derived from its seed.

        The first call returns the same UUID on every retry, and so does each later one.
        """
        number = struct.pack(">I", self._uuids)
        self._uuids += 1
        digest = _sha256(b"quipu-guest uuid" + self._bytes() + number).digest()
        return _UUID(bytes=digest[:16], version=4)

    def _bytes(self) -> bytes:
        return struct.pack(">4Q", *self.seed)
