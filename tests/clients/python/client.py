"""Uses a host through a client that openapi-python-client generated from its description, without
a cast: uploads a module, activates it, executes a command with metadata, reads the event back, and
follows a subscription across a reconnect.
"""

import json
import os
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from quipu_client import AuthenticatedClient
from quipu_client.api.commands import execute
from quipu_client.api.deployments import activate
from quipu_client.api.modules import download, upload
from quipu_client.api.streams import read_stream, subscribe_stream
from quipu_client.models import (
    CommandBody,
    CommandBodyMetadataType0,
    DeploymentBody,
    DeploymentView,
    Direction,
    Event,
    ModuleView,
    Outcome,
    Problem,
    ProblemCode,
    Reached,
    StreamEvents,
)
from quipu_client.types import UNSET, File, Unset

STREAM = "account-py 1"


def command(type_: str, data: dict[str, object], **metadata: object) -> CommandBody:
    """A command with metadata."""
    return CommandBody(
        type_=type_,
        data=data,
        metadata=CommandBodyMetadataType0.from_dict(metadata),
    )


def frames(lines: Iterator[str]) -> Iterator[tuple[str, str | None, str]]:
    """Name, id and data of server-sent events."""
    name, seen, data = "", None, list[str]()
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "id":
            seen = value
        elif field == "data":
            data.append(value)
        elif line == "" and name:
            yield name, seen, "\n".join(data)
            name, seen, data = "", None, []


def follow(client: AuthenticatedClient, seen: str | Unset, count: int) -> tuple[list[Event], str | Unset]:
    """The next events of the stream, after the last id that was seen."""
    events = list[Event]()
    request = subscribe_stream._get_kwargs(STREAM, last_event_id=seen)
    with client.get_httpx_client().stream(**request) as response:
        assert response.status_code == 200, response.read()
        for name, id_, data in frames(response.iter_lines()):
            seen = seen if id_ is None else id_
            if name == "event":
                events.append(Event.from_dict(json.loads(data)))
            elif name == "caught-up":
                assert Reached.from_dict(json.loads(data)).version is not UNSET
            elif name == "error":
                raise RuntimeError(Problem.from_dict(json.loads(data)))
            if len(events) == count:
                return events, seen
    raise RuntimeError("the subscription ended")


def main(url: str, component: Path) -> None:
    client = AuthenticatedClient(base_url=url, token=os.environ["QUIPU_TOKEN"])
    bytes_ = component.read_bytes()

    uploaded = upload.sync(client=client, body=File(payload=BytesIO(bytes_)))
    assert isinstance(uploaded, ModuleView), uploaded
    assert uploaded.name == "account"
    downloaded = download.sync(uploaded.digest, client=client)
    assert isinstance(downloaded, File), downloaded
    assert downloaded.payload.read() == bytes_
    activated = activate.sync(client=client, body=DeploymentBody(digest=uploaded.digest))
    assert isinstance(activated, DeploymentView), activated

    opening = command("open", {"owner": "ann"}, tenant="north", tries=[1, 2])
    opened = execute.sync(STREAM, client=client, body=opening, idempotency_key="py-open")
    assert isinstance(opened, Outcome), opened
    assert opened.version == 1
    page = read_stream.sync(STREAM, client=client, direction=Direction.BACKWARD, limit=1)
    assert isinstance(page, StreamEvents), page
    assert page.events[0].type_ == "opened"
    assert page.events[0].metadata.to_dict() == {"tenant": "north", "tries": [1, 2]}

    rejected = execute.sync(STREAM, client=client, body=command("withdraw", {"amount": 5}))
    assert isinstance(rejected, Problem), rejected
    assert rejected.code == ProblemCode.REJECTED

    events, seen = follow(client, UNSET, 1)
    assert events[0].type_ == "opened"
    for amount in (3, 4):
        deposited = execute.sync(STREAM, client=client, body=command("deposit", {"amount": amount}))
        assert isinstance(deposited, Outcome), deposited
    events, seen = follow(client, seen, 2)
    assert [event.data for event in events] == [{"amount": 3}, {"amount": 4}]
    assert seen == "3"
    print("python: ok")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
