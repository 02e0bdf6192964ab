"""Killed in the middle of its work: what the authorization server has acknowledged is there when it comes back."""

import contextlib
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from attacks.world import CALLBACK, CHALLENGE, NATIVE, VERIFIER
from shared.addresses import RESOURCE
from shared.browser import Form
from tests.processes import free_ports
from tests.world import answer_in
from tools.environment import ROOT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
AT_ONCE = 4  # browsers
BOTH = ["authorization_code", "refresh_token"]
SETTINGS = {
    "AS_DEMO": "1",
    "AS_SIGNING_ALGORITHM": "ES256",
    "AS_CODE_LIFETIME": "600",
    "AS_PURGE_EVERY": "1",
    "AS_REQUESTS_PER_WINDOW": "1000000",
    "AS_FAILURES_PER_WINDOW": "1000000",
}


@dataclass
class Heard:
    """What was acknowledged, and what was only asked when the lights went out."""

    clients: list[str] = field(default_factory=list)
    codes: dict[str, str] = field(default_factory=dict)  # that nobody has tried: their clients
    asked: dict[str, str] = field(default_factory=dict)  # that somebody has tried, and was not told how it went
    used: dict[str, str] = field(default_factory=dict)
    refresh_tokens: dict[str, str] = field(default_factory=dict)  # the newest ones: their clients
    perhaps: dict[str, str] = field(default_factory=dict)  # refresh tokens that may have been used


class Program:
    """The authorization server as a process of its own."""

    def __init__(self, folder: Path):
        self.folder, self.issuer = folder, f"http://localhost:{free_ports()['AS_PORT']}"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        named = {"AS_ISSUER": self.issuer, "AS_DATA": str(self.folder), "AS_AUDIT": str(self.folder / "audit")}
        environ = {name: value for name, value in os.environ.items() if not name.startswith("AS_")} | SETTINGS | named
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen([sys.executable, "-m", "auth_server"], cwd=ROOT, env=environ, stderr=log)
        until = time.monotonic() + 60
        while time.monotonic() < until and self.process.poll() is None:
            with contextlib.suppress(httpx2.TransportError):
                if httpx2.get(f"{self.issuer}/ready", timeout=5).status_code == 200:
                    return
            time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text()[-2000:])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path)
    program.start()
    yield program
    program.kill()


class Browser:
    """A person at work with one client after another, until the server is gone."""

    def __init__(self, issuer: str, seed: int):
        self.http = httpx2.Client(base_url=issuer, timeout=20)
        self.dice = random.Random(seed)
        self.heard = Heard()

    def sign_in(self) -> None:
        client_id = self.register()
        page = self.http.get("/authorize", params=self.ask(client_id))
        form = dict(Form(page.text).fields) | {"username": "alice", "password": "wonderland"}
        assert self.http.post("/login", data=form).status_code == 303

    def work(self) -> None:
        with contextlib.suppress(httpx2.TransportError):
            while True:
                self.flow()

    def register(self) -> str:
        answer = self.http.post("/register", json=NATIVE | {"grant_types": BOTH}).raise_for_status()
        self.heard.clients.append(answer.json()["client_id"])
        return self.heard.clients[-1]

    def ask(self, client_id: str) -> dict[str, str]:
        ask = {"response_type": "code", "client_id": client_id, "redirect_uri": CALLBACK, "resource": RESOURCE}
        return ask | {"code_challenge": CHALLENGE, "code_challenge_method": "S256", "scope": "mcp:tools:sentiment"}

    def flow(self) -> None:
        heard, client_id = self.heard, self.register()
        page = self.http.get("/authorize", params=self.ask(client_id))
        form = dict(Form(page.text).fields) | {"decision": "allow"}
        code = answer_in(self.http.post("/consent", data=form))["code"]
        heard.codes[code] = client_id
        if self.dice.random() < 0.3:
            return  # it is redeemed after the crash
        del heard.codes[code]
        heard.asked[code] = client_id
        token = self.redeem(client_id, code).raise_for_status().json()["refresh_token"]
        heard.used[code] = heard.asked.pop(code)
        heard.refresh_tokens[token] = client_id
        while self.dice.random() < 0.5:
            heard.perhaps[token] = heard.refresh_tokens.pop(token)
            old, token = token, self.refresh(client_id, token).raise_for_status().json()["refresh_token"]
            del heard.perhaps[old]
            heard.refresh_tokens[token] = client_id

    def redeem(self, client_id: str, code: str) -> httpx2.Response:
        form = {"grant_type": "authorization_code", "client_id": client_id, "code": code, "code_verifier": VERIFIER}
        return self.http.post("/token", data=form)

    def refresh(self, client_id: str, token: str) -> httpx2.Response:
        form = {"grant_type": "refresh_token", "client_id": client_id, "refresh_token": token}
        return self.http.post("/token", data=form)

    def look_after_the_crash(self) -> int:
        """How much of what was acknowledged has been found again: all of it."""
        heard, self.heard = self.heard, Heard()
        self.http.close()
        self.http = httpx2.Client(base_url=str(self.http.base_url), timeout=20, cookies=self.http.cookies)
        for client_id in heard.clients:
            answer = self.http.post("/revoke", data={"client_id": client_id, "token": "nonsense"})
            assert answer.status_code == 200, "a registration is lost"
        for token, client_id in heard.refresh_tokens.items():
            assert self.refresh(client_id, token).status_code == 200, "a refresh token is lost"
            assert self.refresh(client_id, token).status_code == 400
        for token, client_id in heard.perhaps.items():
            assert works(self.refresh(client_id, token)) + works(self.refresh(client_id, token)) <= 1
        for code, client_id in heard.codes.items():
            assert self.redeem(client_id, code).status_code == 200, "a grant is lost"
            assert self.redeem(client_id, code).status_code == 400, "a code works twice"
        for code, client_id in heard.asked.items():
            assert works(self.redeem(client_id, code)) + works(self.redeem(client_id, code)) <= 1
        for code, client_id in heard.used.items():
            assert self.redeem(client_id, code).status_code == 400, "a code works twice"
        return len(heard.clients) + len(heard.refresh_tokens) + len(heard.codes)


def works(answer: httpx2.Response) -> bool:
    assert answer.status_code in (200, 400), answer.text
    return answer.status_code == 200


@pytest.mark.parametrize("times", [3, pytest.param(20, marks=pytest.mark.thorough)])
def test_what_it_has_acknowledged_survives_kill_9_and_no_code_works_twice(program: Program, times: int) -> None:
    browsers = [Browser(program.issuer, seed) for seed in range(AT_ONCE)]
    dice = random.Random(times)
    for browser in browsers:
        browser.sign_in()
    for _ in range(times):
        at_work = [threading.Thread(target=browser.work) for browser in browsers]
        for one in at_work:
            one.start()
        time.sleep(dice.uniform(0.2, 1.0))
        program.kill()
        for one in at_work:
            one.join(30)
        program.start()
        assert all([browser.look_after_the_crash() for browser in browsers]), "it was at work when it was killed"
    log = (program.folder / "log").read_text(encoding="utf-8")
    assert "Traceback" not in log, log
