"""Sends commands of the guest `coin`, and reads documents of `loan-views`, through a client that
openapi-python-client generated from the description of the domain, without a cast.
"""

import os
import sys

from domain_client import AuthenticatedClient
from domain_client.api.coin import coin_deposit, coin_spend
from domain_client.api.loan import loan_submit
from domain_client.api.views import list_applications, read_applications
from domain_client.models import (
    CoinDeposit,
    CoinProblem,
    CoinRejectionCode,
    CoinSpend,
    DocumentPage,
    DocumentView,
    Outcome,
    Problem,
    ProblemCode,
)


def main(url: str) -> None:
    client = AuthenticatedClient(base_url=url, token=os.environ["QUIPU_TOKEN"])
    deposited = coin_deposit.sync(
        "py 1", client=client, body=CoinDeposit(wei=5), idempotency_key="py-deposit"
    )
    assert isinstance(deposited, Outcome), deposited
    assert (deposited.stream, deposited.version) == ("coin-py 1", 1)
    spent = coin_spend.sync("py 1", client=client, body=CoinSpend(wei=6))
    assert isinstance(spent, CoinProblem), spent
    assert spent.rejection.code == CoinRejectionCode.TOO_LITTLE
    read_documents(client)
    print("python: domain ok")


def read_documents(client: AuthenticatedClient) -> None:
    """Reads documents that are as fresh as a command."""
    submitted = loan_submit.sync("py 1", client=client, body={"amount": 2000})
    assert isinstance(submitted, Outcome), submitted
    position = submitted.position
    assert isinstance(position, int), position
    found = read_applications.sync("py 1", client=client, after=position, timeout=30_000)
    assert isinstance(found, DocumentView), found
    assert (found.key, found.document["amount"]) == ("py 1", 2000)
    assert found.position >= position
    page = list_applications.sync(client=client, where=["amount>=2000"], after=position)
    assert isinstance(page, DocumentPage), page
    assert [entry.key for entry in page.documents] == ["py 1"]
    missing = read_applications.sync("nobody", client=client)
    assert isinstance(missing, Problem), missing
    assert missing.code == ProblemCode.DOCUMENT_NOT_FOUND


if __name__ == "__main__":
    main(sys.argv[1])
