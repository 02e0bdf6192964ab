"""A token under a lens: what it says, which rule of step 05 refuses it, and that it goes nowhere."""

import base64
import io
import json
import os
import pty
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from attacks.loaded import Loaded
from attacks.world import Remote
from tests.processes import environment, free_ports, listening, run, started, until
from tools import lens, lens_door, lens_rules, lens_served
from tools.catalogue import step_named
from tools.environment import ROOT
from tools.lens_words import UNKNOWN, moment

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ISSUER = f"http://localhost:{free_ports()['AS_PORT']}"
RESOURCE = f"http://localhost:{free_ports()['MCP_PORT']}/mcp"
NEIGHBOUR = f"http://localhost:{free_ports()['NEIGHBOUR_PORT']}/mcp"


def made(header: dict | None = None, algorithm: str = "RS256", **changes: object) -> str:
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": RESOURCE,
        "sub": "alice",
        "client_id": "a client",
        "scope": "mcp:tools:sentiment",
        "iat": now,
        "exp": now + 600,
        "jti": "a number",
    }
    claims = {name: value for name, value in (claims | changes).items() if value is not None}
    head = {name: value for name, value in ({"typ": "at+jwt", "kid": "k"} | (header or {})).items() if value}
    return jwt.encode(claims, None if algorithm == "none" else KEY, algorithm, head)


def joined(*parts: object) -> str:
    rows = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in parts]
    return ".".join(base64.urlsafe_b64encode(row).decode().rstrip("=") for row in rows) + ".c2ln"


@pytest.fixture
def look(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setattr(lens_door, "PATIENCE", 60)  # a busy machine is no server that does not answer

    def look(given: str | bytes, resource: str = RESOURCE) -> tuple[int, str, str]:
        file = tmp_path / "token"
        file.write_bytes(given if isinstance(given, bytes) else given.encode())
        capsys.readouterr()
        code = lens.look(str(file), ISSUER, resource)
        said = capsys.readouterr()
        return code, said.out, said.err

    return look


def state_of(rule: str, out: str) -> str:
    [row] = [row for row in out.splitlines() if re.match(rf" *(ok|refused|cannot tell) +{rule} ", row)]
    return re.split(rf" +{rule} ", row.strip())[0]


# ── what it says ──────────────────────────────────────────────────────────────


def test_every_part_gets_a_word_and_an_unknown_one_says_so(look: Callable) -> None:
    _, out, _ = look(made({"jku": "https://a"}, cnf={"jkt": "x"}, shoe_size=44))
    for name, word in (("jku", "where its keys are"), ("sub", "on whose behalf"), ("cnf", "which key its bearer")):
        assert re.search(rf"^ +{name} .*{word}", out, re.M), name
    assert re.search(rf"^ +shoe_size +44 +{UNKNOWN}", out, re.M)
    assert re.search(r"^ +cnf +\{\"jkt\": \"x\"\}", out, re.M)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(545, "in 9 minutes"), (-185, "3 minutes ago"), (7 * 3600 + 1, "in 7 hours"), (-40 * 86_400, "40 days ago")],
)
def test_a_moment_is_said_in_local_time_and_from_now(seconds: int, said: str) -> None:
    at = int(time.time()) + seconds
    assert moment(at) == f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(at))}, {said}"


@pytest.mark.parametrize("odd", ["1795275655", True, None, [], float("nan"), float("inf"), 10**400, -(10**400), 1e300])
def test_an_odd_moment_is_no_traceback(odd: object, look: Callable) -> None:
    assert moment(odd).startswith(("no moment", "on no calendar"))
    payload = json.dumps({"iss": ISSUER, "exp": odd, "iat": odd, "sub": "a", "client_id": "b", "jti": "c"}).encode()
    code, out, _ = look(joined({"alg": "RS256", "typ": "at+jwt", "kid": "k"}, payload))
    assert code == 1 and "refused" in out


def test_milliseconds_are_recognised() -> None:
    assert moment(int(time.time() * 1000)).endswith("milliseconds instead of seconds?")


def test_the_token_and_its_signature_are_never_shown(look: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.shortening.REVEAL", True)
    token = made()
    _, out, err = look(token)
    for part in (token, token.split(".")[2]):
        assert part not in out + err


def test_nothing_in_a_token_moves_the_cursor_or_colours_the_page(look: Callable) -> None:
    _, out, _ = look(made({"kid": "\x1b[2J"}, iss="[red]\x1b]0;title\x07", **{"\x1b[31m": "\r\n"}))
    assert "\x1b" not in out and "\x07" not in out and "\r" not in out
    assert "[red]" in out


def test_a_name_that_stands_there_twice_is_said(look: Callable) -> None:
    _, out, _ = look(joined({"alg": "RS256"}, b'{"sub": "alice", "sub": "mallory"}'))
    assert "sub stands in it more than once" in out


# ── the rules ─────────────────────────────────────────────────────────────────


def test_each_rule_of_step_05_has_its_sentence_and_its_section() -> None:
    with Loaded(step_named("05")) as loaded:
        rules = loaded.module("bearer").BEARER_RULES
        assert {rule.__name__ for rule in rules} == set(lens_rules.SENTENCES)
        assert all(lens_rules.section_of(rule).startswith("RFC ") for rule in rules)


ODD = {
    "an ID token": (made({"typ": "JWT"}), "is_access_token", "only at+jwt"),
    "an extension": (joined({"typ": "at+jwt", "crit": ["x"]}, {}), "without_extensions", "must be understood"),
    "unsigned": (made(algorithm="none"), "signed_by_our_issuer", 'alg is "none"'),
    "no kid": (made({"kid": None}), "signed_by_our_issuer", "kid is missing"),
    "no jti": (made(jti=None), "has_all_claims", "missing: jti"),
    "a text as exp": (joined({"typ": "at+jwt"}, {"exp": "soon"}), "has_all_claims", "wrong type or empty: exp"),
    "another issuer": (made(iss=ISSUER + "/"), "from_our_issuer", "to the letter"),
    "another door": (made(aud=NEIGHBOUR), "made_for_us", f'aud is "{NEIGHBOUR}"'),
    "two doors": (made(aud=[RESOURCE, NEIGHBOUR]), "made_for_us", "names other doors too"),
    "no door": (made(aud=None), "made_for_us", "aud is missing"),
    "too old": (made(exp=int(time.time()) - 3 * 3600), "within_its_time", "expired 3 hours ago"),
    "too early": (made(nbf=int(time.time()) + 5 * 3600), "within_its_time", "it begins in 5 hours"),
    "too long": (made(scope="x" * 9000), "take_apart", "8000 are read"),
}


@pytest.mark.parametrize("what", ODD)
def test_the_rule_that_refuses_says_why(what: str, look: Callable) -> None:
    token, rule, why = ODD[what]
    code, out, _ = look(token)
    assert (code, state_of(rule, out)) == (1, "refused")
    [row] = [row for row in out.splitlines() if f" {rule} " in row]
    assert why in row and ". RFC " in row
    assert "Refused by the rule " in out


def test_offline_it_says_so_and_cannot_tell_who_signed(look: Callable) -> None:
    code, out, _ = look(made())
    assert (code, state_of("signed_by_our_issuer", out)) == (0, "cannot tell")
    assert "that needs the issuer's keys, and nobody answers there. RFC 8725 §3.1" in out
    assert f"Offline: no authorization server answers at {ISSUER}." in out
    assert f"Offline: no MCP server answers at {RESOURCE}." in out
    assert "No rule refuses it, as far as can be told here." in out


def test_that_nobody_signed_it_is_said_first(look: Callable) -> None:
    for name in ("none", "None"):
        code, out, _ = look(joined({"alg": name, "typ": "JWT"}, {"sub": "mallory"}))
        assert code == 1 and out.strip().startswith("It is not signed, for its alg is none")
        assert re.search(rf'signed_by_our_issuer +alg is "{name}": nobody signed this', out)
    assert "not signed" not in look(made())[1]


@pytest.mark.parametrize(
    ("number", "told", "leeway"), [("05", "7", 30), ("06", "", 0), ("06", "7", 7), ("08", "", 30), ("08", "0", 0)]
)
def test_serve_writes_down_what_its_servers_were_told(
    number: str, told: str, leeway: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEEWAY", told)
    monkeypatch.setattr(lens_served, "ROOT", tmp_path)
    with lens_served.written_down(step_named(number)):
        assert lens_served.told() == (number, leeway)
    assert lens_served.told() is None
    lens_served.place().write_text('{"step": []')
    assert lens_served.told() is None


@pytest.mark.parametrize(
    ("date", "ahead"),
    [
        ("Sat, 21 Nov 2026 20:00:00 GMT", 600),
        ("Sat, 21 Nov 2026 19:40:00 GMT", -600),
        ("Sat, 21 Nov 2026 19:50:02 GMT", 0),
        ("soon", 0),
        ("", 0),
        ("Sat, 21 Nov 99999 19:50:02 GMT", 0),
    ],
)
def test_the_date_of_an_answer_says_what_time_it_is_there(date: str, ahead: int) -> None:
    now = datetime(2026, 11, 21, 19, 50, tzinfo=UTC).timestamp()
    assert lens_served.ahead_of(httpx2.Response(200, headers={"date": date}), now) == ahead


# ── where the token goes ──────────────────────────────────────────────────────


def test_a_stranger_on_the_port_does_not_get_the_token(look: Callable) -> None:
    heard: list[str] = []

    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(f"{self.command} {self.headers}")
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"resource": "http://localhost/another"}')

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Stranger)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        _, out, _ = look(made(), resource=f"http://127.0.0.1:{server.server_port}/mcp")
    finally:
        server.shutdown()
        server.server_close()
    assert heard and not [request for request in heard if "eyJ" in request or request.startswith("POST")]
    assert "does not say that it is this resource: it is not asked" in out


def test_a_token_does_not_leave_this_computer_in_the_clear(look: Callable) -> None:
    assert "a token goes over https" in look(made(), resource="http://example.invalid/mcp")[1]


# ── where it comes from ───────────────────────────────────────────────────────

WRAPPED = {
    "a line": "{}\r\n",
    "a scheme": "Bearer {}",
    "a header": "Authorization: Bearer {}\n",
    "a command": "curl -H 'Authorization: Bearer {}' http://localhost:8000/mcp",
    "quotes": '"{}"\n',
    "a token response": '{{"token_type": "Bearer", "access_token": "{}"}}',
    "a token file": '{{"http://localhost:9000": {{"client": {{}}, "tokens": {{"access_token": "{}"}}}}}}',
}


@pytest.mark.parametrize("how", WRAPPED)
def test_a_token_is_found_in(how: str, look: Callable) -> None:
    code, out, _ = look(WRAPPED[how].format(made(sub="somebody")))
    assert code == 0 and "somebody" in out


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_may_be_in_the_encoding_of_windows(encoding: str, look: Callable) -> None:
    assert look(made().encode(encoding))[0] == 0


def test_a_token_that_a_terminal_broke_into_lines_is_whole_again(look: Callable) -> None:
    token = made()
    assert look("\n".join(token[at : at + 80] for at in range(0, len(token), 80)))[0] == 0


NONE = {
    "nothing": ("", "the input is empty"),
    "blanks": (" \n\t", "the input is empty"),
    "an opaque token": ("6f1c2c0e9b7e4c6d", "it has 1 part,"),
    "two parts": ("abc.def", "it has 2 parts,"),
    "an encrypted token": (f"{joined({'alg': 'RSA-OAEP', 'enc': 'A256GCM'}, {})}.a.b", "encrypted"),
    "a cut header": ("eyJhb*.e30.x", "first part, the header, is not base64url"),
    "a header that is none": (joined(["alg"], {}), "header, is not a JSON object"),
    "claims that are no JSON": (joined({}, b"\x80abc"), "claims, is not JSON"),
    "deep claims": (joined({}, b"[" * 50_000), "claims, is not JSON"),
    "an odd signature": ("e30.e30.a+b", "signature, is not base64url"),
    "two tokens": ("eyJhbGciOiJSUzI1NiJ9.e30.c2ln eyJhbGciOiJSUzI1NiJ9.e30.c2lo", "There are 2 tokens in it"),
    "a sentence": ("this is not a token", "There is no token in it"),
    "JSON without one": ('{"refresh_token": "x"}', "no access_token"),
    "half a JSON document": ('{"access_token": "', "begins like JSON and is none"),
    "a picture": (b"\x89PNG\r\n\x1a\n\x00\x00\xff", "not text"),
    "zeros": (b"\0" * 50, "not text"),
    "a book": ("x" * 200_000, "no token is as long as that"),
}


@pytest.mark.parametrize("what", NONE)
def test_no_token_is_a_sentence(what: str, look: Callable) -> None:
    given, why = NONE[what]
    code, out, err = look(given)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert why in err


def test_a_token_on_the_command_line_is_not_read_and_not_repeated(capsys: pytest.CaptureFixture) -> None:
    token = made()
    for given in (token, f"Bearer {token}"):
        assert lens.look(given) == 2
        said = capsys.readouterr()
        assert "history of the shell" in said.err and token[:20] not in said.err + said.out


@pytest.mark.parametrize("name", ["no such file", str(ROOT), "a\0b"])
def test_a_file_that_cannot_be_read_is_a_sentence(name: str, capsys: pytest.CaptureFixture) -> None:
    assert lens.look(name) == 2
    assert re.search(r"cannot be read: .*Name a file, or - for the input\.$", capsys.readouterr().err.strip())


LOOK = f"import sys; from tools import lens; sys.exit(lens.look(None, {ISSUER!r}, {RESOURCE!r}))"


@pytest.mark.thorough
def test_a_pipe_is_read() -> None:
    command = [sys.executable, "-c", LOOK]
    done = subprocess.run(command, cwd=ROOT, env=environment(), input=made(), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and "alice" in done.stdout


def test_a_dash_is_the_input(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(made().encode())))
    assert lens.look("-", ISSUER, RESOURCE) == 0
    assert "alice" in capsys.readouterr().out


def test_what_is_pasted_is_not_echoed_and_may_be_long() -> None:
    token = made(scope=" ".join(f"scope{n}" for n in range(500)))
    assert len(token) > 4096, "more than a line of a terminal holds"
    master, slave = pty.openpty()
    command = [sys.executable, "-c", LOOK]
    process = subprocess.Popen(command, cwd=ROOT, env=environment(), stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    said = b""
    while b"Enter" not in said:
        said += os.read(master, 1024)
    os.write(master, token.encode() + b"\r")
    try:
        while more := os.read(master, 65536):
            said += more
    except OSError:
        pass  # the other end is closed
    assert process.wait(60) == 0
    os.close(master)
    assert b"alice" in said and token[:30].encode() not in said


# ── with servers: last, for they stay until the end of this file ──────────────


@pytest.fixture(scope="module")
def servers() -> Iterator[Remote]:
    with started("serve", "05") as process, Remote("05", ISSUER, RESOURCE) as world:
        assert until(lambda: process.poll() is not None or len({row.split()[0] for row in listening()}) == 3)
        yield world
        process.terminate()
        process.wait(60)


def test_the_servers_that_run_are_asked(servers: Remote, look: Callable) -> None:
    code, out, _ = look(servers.access_token())
    assert (code, state_of("signed_by_our_issuer", out)) == (0, "ok")
    assert f"The keys are those that {ISSUER} shows now." in out
    assert "No rule refuses it.\n" in out
    assert f"Asked for its tools, {RESOURCE} says 200 OK." in out


def test_what_a_rule_refuses_the_server_refuses(servers: Remote, look: Callable) -> None:
    code, out, _ = look(servers.access_token(resource=NEIGHBOUR))
    assert (code, state_of("made_for_us", out), state_of("signed_by_our_issuer", out)) == (1, "refused", "ok")
    assert f"Asked for its tools, {RESOURCE} says 401 Unauthorized." in out
    assert 'www-authenticate: Bearer realm="mcp", error="invalid_token"' in out


def test_a_changed_token_and_one_of_an_unknown_key_differ(servers: Remote, look: Callable) -> None:
    head, claims, signature = servers.access_token().split(".")
    assert "did not sign this" in look(f"{head}.{claims}.{signature[:-8]}AAAAAAAA")[1]
    assert 'the issuer shows no key "k"; it shows "' in look(made())[1]


def test_what_serve_was_told_counts(servers: Remote, look: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    just_expired = made(exp=int(time.time()) - 10)
    assert state_of("within_its_time", look(just_expired)[1]) == "ok"
    monkeypatch.setattr(lens_door, "ISSUER", ISSUER)
    monkeypatch.setattr(lens_door, "RESOURCE", RESOURCE)
    monkeypatch.setattr(lens_served, "told", lambda: ("06", 0))
    _, out, _ = look(just_expired)
    assert state_of("within_its_time", out) == "refused" and "two clocks may differ by 0 seconds" in out
    assert "LEEWAY is 0 seconds for the servers of step 06 that run." in out


@pytest.mark.thorough
def test_the_clock_of_the_servers_counts(servers: Remote, look: Callable) -> None:
    token = servers.access_token()
    assert run("expire").code == 0
    assert until(lambda: "ahead of this computer's, and counts here" in look(token)[1])
    code, out, _ = look(token)
    assert (code, state_of("within_its_time", out)) == (1, "refused")
    assert f"Asked for its tools, {RESOURCE} says 401 Unauthorized." in out
