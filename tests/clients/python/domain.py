"""Sends commands of the guest `coin` through a client that openapi-python-client generated from the
description of the domain, without a cast.
"""

import os
import sys

from domain_client import AuthenticatedClient
from domain_client.api.coin import coin_deposit, coin_spend
from domain_client.models import (
    CoinDeposit,
    CoinProblem,
    CoinRejectionCode,
    CoinSpend,
    Outcome,
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
    print("python: domain ok")


if __name__ == "__main__":
    main(sys.argv[1])
