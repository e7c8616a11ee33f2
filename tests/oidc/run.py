#!/usr/bin/env python3
"""A real OpenID provider gives tokens, and the host takes them; the provider changes its key.

    python3 tests/oidc/run.py --quipu target/debug/quipu

Needs Node with the packages of this folder (`npm install`).
"""

import argparse
import base64
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
WAIT_S_MAX = 60


def free_port() -> int:
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


def provider(port: int, key_id: str, algorithm: str) -> subprocess.Popen:
    started = subprocess.Popen(
        ["node", "provider.mjs", str(port), key_id, algorithm],
        cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )
    line = started.stdout.readline().strip()
    assert line == f"http://localhost:{port}", line
    return started


def token(port: int) -> str:
    """A token as an application gets it: by its own id and secret."""
    secret = urllib.parse.quote("a secret that only this test uses")
    basic = base64.b64encode(f"orders:{secret}".encode()).decode()
    body = urllib.parse.urlencode({"grant_type": "client_credentials", "resource": "urn:quipu", "scope": "quipu:write"})
    asked = urllib.request.Request(
        f"http://localhost:{port}/token", body.encode(),
        {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"},
    )
    with urllib.request.urlopen(asked, timeout=WAIT_S_MAX) as answered:
        return json.load(answered)["access_token"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quipu", required=True, type=Path)
    quipu = parser.parse_args().quipu.resolve()
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "identities.toml").write_text(f"""
[[issuer]]
name = "login"
issuer = "http://localhost:{port}"
audience = ["quipu"]
roles_claim = "groups"
roles = [{{ value = "developers", role = "author" }}]
attributes = ["customer"]
""")
        (folder / "quipu.toml").write_text('[access]\nidentities = "' + str(folder / "identities.toml") + '"\n')
        environment = {name: value for name, value in os.environ.items() if not name.startswith("QUIPU_")}
        issuer = provider(port, "first", "RS256")
        host = subprocess.Popen(
            [quipu, "serve", "--config", folder / "quipu.toml", "--store", "memory:", "--listen", "127.0.0.1:0"],
            env=environment, stdout=subprocess.PIPE, text=True,
        )
        try:
            url = host.stdout.readline().split()[1]

            def ask(text: str) -> subprocess.CompletedProcess:
                return subprocess.run(
                    [quipu, "whoami", "--json", "--url", url], env=environment | {"QUIPU_TOKEN": text},
                    capture_output=True, text=True, timeout=WAIT_S_MAX,
                )

            first = token(port)
            said = ask(first)
            assert said.returncode == 0, said.stderr
            who = json.loads(said.stdout)
            assert who["name"] == "login:orders", who
            assert who["grant"]["role"] == "author", who
            assert who["attributes"] == {"customer": "7"}, who
            assert ask(first[:-4] + "AAAA").returncode == 1

            # The provider changes its key, and even the algorithm.
            issuer.terminate()
            issuer.wait()
            issuer = provider(port, "second", "ES256")
            second = token(port)
            until = time.monotonic() + WAIT_S_MAX
            while (said := ask(second)).returncode != 0:
                assert time.monotonic() < until, said.stderr
                time.sleep(0.5)
            print("a real provider's tokens are taken, before and after it changed its key")
        finally:
            host.terminate()
            issuer.terminate()
            host.wait()


if __name__ == "__main__":
    sys.exit(main())
