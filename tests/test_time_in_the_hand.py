"""While `serve` runs, another terminal makes things happen."""

import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from attacks.world import Remote
from tests import scratch
from tests.processes import PORTS, free_ports, is_free, run, started, until
from tools.environment import ROOT


@pytest.fixture(scope="module")
def served() -> Iterator[Remote]:
    ports = free_ports()
    issuer, resource = f"http://localhost:{ports['AS_PORT']}", f"http://localhost:{ports['MCP_PORT']}/mcp"
    with started("serve", "06", TOKEN_LIFETIME="600") as process:
        read = iter(process.stdout.readline, "")
        assert any("expire | rotate-keys | revoke | restart-as" in row for row in read)
        with Remote("06", issuer, resource) as world:
            yield world
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


def told(*words: str) -> str:
    ran = run(*words)
    assert ran.code == 0, ran.err
    return ran.out


def test_expire_ends_every_access_token_and_no_refresh_token(served: Remote) -> None:
    client, tokens = served.with_refresh()
    old = f"Bearer {tokens['access_token']}"
    assert served.list_tools(old).status_code == 200
    assert "every access token so far has expired" in told("expire")
    refused = served.list_tools(old)
    assert (refused.status_code, 'error="invalid_token"' in refused.headers["www-authenticate"]) == (401, True)
    new = served.refresh(client, tokens["refresh_token"]).json()["access_token"]
    assert served.list_tools(f"Bearer {new}").status_code == 200


def test_revoke_ends_every_refresh_token_and_no_access_token(served: Remote) -> None:
    client, tokens = served.with_refresh()
    assert "All refresh tokens are taken back" in told("revoke")
    assert served.refresh(client, tokens["refresh_token"]).json()["error"] == "invalid_grant"
    assert served.list_tools(f"Bearer {tokens['access_token']}").status_code == 200


def test_rotated_keys_are_fetched_when_a_token_names_them_and_the_old_ones_are_gone(served: Remote) -> None:
    old = served.access_token()
    assert served.list_tools(f"Bearer {old}").status_code == 200
    before = served.auth.get("/jwks").json()["keys"]
    assert "signs with a new key" in told("rotate-keys")
    after = served.auth.get("/jwks").json()["keys"]
    assert len(before) == len(after) == 1 and before[0]["kid"] != after[0]["kid"]
    assert served.list_tools(f"Bearer {served.access_token()}").status_code == 200
    assert served.list_tools(f"Bearer {old}").status_code == 401


@pytest.mark.thorough
def test_a_restarted_authorization_server_has_forgotten_everybody_and_keeps_its_clock(served: Remote) -> None:
    client, tokens = served.with_refresh()
    assert "knows no client" in told("restart-as")
    assert served.refresh(client, tokens["refresh_token"]).json()["error"] == "invalid_client"
    told("expire")  # the MCP server may have no cool-down left over from the keys before
    assert until(lambda: served.list_tools(f"Bearer {served.access_token()}").status_code == 200)


def test_who_has_no_key_is_not_obeyed(served: Remote) -> None:
    from tools import control

    client, tokens = served.with_refresh()
    where = ROOT / "out" / f"serving-{free_ports()['AS_PORT']}.json"
    assert oct(where.stat().st_mode)[-3:] == "600"
    kept = where.read_text()
    try:
        where.write_text(re.sub(r'"key": "\w+"', f'"key": "{"00" * 32}"', kept))
        assert run("revoke").code == 1
    finally:
        where.write_text(kept)
    with socket.create_connection(("127.0.0.1", json.loads(kept)["port"])) as stranger:
        stranger.sendall(b"\xff" * 200)
    assert served.refresh(client, tokens["refresh_token"]).status_code == 200
    assert "taken back" in told("revoke"), "who has the key still is"
    assert control.done("shutdown", None).startswith("!")


def test_a_connection_that_says_nothing_holds_nobody_up(served: Remote) -> None:
    where = json.loads((ROOT / "out" / f"serving-{free_ports()['AS_PORT']}.json").read_text())
    with socket.create_connection(("127.0.0.1", where["port"])):
        assert "taken back" in told("revoke")


@pytest.mark.thorough
def test_a_server_that_died_is_named_and_can_be_started_again(served: Remote) -> None:
    issuer = f":{served.issuer.rpartition(':')[2]}"
    [dead] = {
        found.pid
        for found in psutil.net_connections("tcp")
        if found.status == psutil.CONN_LISTEN and f":{found.laddr.port}" == issuer
    }
    os.kill(dead, signal.SIGKILL)
    assert until(lambda: not psutil.pid_exists(dead) or psutil.Process(dead).status() == "zombie")
    for order in ("revoke", "expire"):
        ran = run(order)
        assert (ran.code, "auth_server is not there any more" in ran.err) == (1, True)
    assert "knows no client" in told("restart-as")
    assert "taken back" in told("revoke")


@pytest.mark.thorough
def test_an_order_that_a_server_cannot_follow_is_said_and_the_next_one_is_followed(tmp_path: Path) -> None:
    last = int(free_ports()["AS_PORT"])
    ports = dict(zip(PORTS, (str(port) for port in range(last + 10, last + 100) if is_free(port)), strict=False))
    copy = scratch.make(tmp_path)
    tokens = copy.file("06", "tokens.py")
    tokens.write_text(tokens.read_text(encoding="utf-8").replace("refreshable", "renewable"), encoding="utf-8")
    with started("serve", "06", cwd=copy.root, **ports) as process:
        assert any("restart-as" in row for row in iter(process.stdout.readline, ""))
        ran = copy.steps("revoke", **ports)
        assert (ran.code, "The auth_server could not follow: revoke" in ran.err) == (1, True)
        assert "signs with a new key" in copy.steps("rotate-keys", **ports).out
        process.terminate()
        assert process.wait(60) == 130


def test_without_servers_there_is_nothing_to_tell() -> None:
    ran = run("expire", AS_PORT="1")
    assert (ran.code, "make serve-06" in ran.err) == (1, True)


@pytest.mark.thorough
def test_a_step_without_tokens_says_so() -> None:
    last = int(free_ports()["AS_PORT"])
    ports = dict(zip(PORTS, (str(port) for port in range(last + 10, last + 100) if is_free(port)), strict=False))
    with started("serve", "02", **ports) as process:
        assert any("restart-as" in row for row in iter(process.stdout.readline, ""))
        ran = run("expire", **ports)
    assert (ran.code, "Before step 05 nobody checks when a token ends." in ran.err) == (1, True)
