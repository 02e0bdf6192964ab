"""The finished client as a program: a second process, real sockets, a visitor for a browser. And its page."""

import contextlib
import gzip
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import anyio
import httpx2
import jwt
import pytest
import trustme
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from mcp.types import Tool

from attacks.world import LIST_TOOLS, MCP_HEADERS, InProcess
from client import session
from client.belongings import Belongings
from client.callback import Callback
from client.cli import cli
from client.commands import properties as properties_of
from client.commands import typed_value
from client.options import Options
from client.output import sentence, table
from client.session import http_client, machine
from client.storage import File, Store
from shared.browser import Form
from shared.stop import Stop
from tests.processes import environment, free_ports, started, until
from tools.environment import ROOT

pytestmark = pytest.mark.anyio
SENTIMENT, REBALANCE = "mcp:tools:sentiment", "mcp:exec:workflows:rebalance"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# ── the page that waits for the answer ────────────────────────────────────────


@pytest.fixture
async def page() -> Iterator[Callback]:
    page = Callback([].append, browser=False)
    page._read_pasted = lambda: None
    await page.send(f"http://localhost:9000/authorize?{urlencode({'state': 'ours'})}")
    yield page
    page.close()


def visit(page: Callback, path: str, method: str = "GET") -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(page.uri).port, timeout=5)
    connection.request(method, path)
    answer = connection.getresponse()
    found = answer.status, answer.headers, answer.read()
    connection.close()
    return found


@pytest.mark.parametrize(
    "path",
    [
        "/callback?code=x&state=theirs",
        "/callback?code=x",
        "/callback?code=x&state=",
        "/callback?code=x&state=ours&state=ours",
        "/callback?code=x&code=y&state=ours",
        "/callback?code=x&state=%C3%A9",
        "/callback",
        "/callback/?code=x&state=ours",
        "/other?code=x&state=ours",
        "/favicon.ico",
    ],
)
async def test_a_wrong_visit_is_dropped_and_the_wait_goes_on(page: Callback, path: str) -> None:
    assert visit(page, path)[0] == 404
    assert page.answers.empty()
    assert visit(page, "/callback?code=x&state=ours")[0] == 303
    assert await page.wait() == {"code": "x", "state": "ours"}


async def test_the_page_keeps_the_answer_to_itself(page: Callback) -> None:
    status, headers, body = visit(page, "/callback?code=the-code&state=ours")
    assert (status, headers["Location"], body) == (303, "/done", b"")
    for _, headers, body in (visit(page, "/done"), visit(page, "/callback?x=<script>")):
        assert headers["Cache-Control"] == "no-store" and headers["Referrer-Policy"] == "no-referrer"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'") and b"script" not in body
        assert "the-code" not in body.decode()


async def test_nobody_else_can_post_there(page: Callback) -> None:
    assert visit(page, "/callback?code=x&state=ours", "POST")[0] == 404 and page.answers.empty()


async def test_a_port_that_was_registered_is_taken_again_if_it_is_free(page: Callback) -> None:
    port = urlsplit(page.uri).port
    elsewhere = Callback(print, port=port)
    assert elsewhere.uri != page.uri
    elsewhere.close()


# ── machines, against step 08 in this process ─────────────────────────────────


@pytest.fixture
def eight() -> Iterator[InProcess]:
    with InProcess("08") as world:
        yield world


def pem(key: object) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


async def call_as_machine(eight: InProcess, folder: Path, issuer: str | None = None, **options: object) -> dict:
    about = {"is_machine": True, "issuer": issuer or eight.issuer, "scope": SENTIMENT}
    about = Options(eight.resource, **about, **options)
    belongings = Belongings(Store(File(folder / "kept.json"), folder), about, lambda _: None)
    provider = machine(about, belongings)
    reach = {
        eight.issuer: httpx2.ASGITransport(eight.auth_server.app),
        eight.resource.removesuffix("/mcp"): httpx2.ASGITransport(eight.mcp_server.app),
    }
    async with eight.mcp_server.mcp.session_manager.run(), httpx2.AsyncClient(auth=provider, mounts=reach) as http:
        try:
            answer, no = await http.post(eight.resource, json=LIST_TOOLS, headers=MCP_HEADERS), None
        except Stop as stop:
            no = stop  # raised outside: the task group here would wrap it
    if no:
        raise no
    assert answer.status_code == 200
    return belongings.kept()["tokens"]


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_a_machine_signs(eight: InProcess, tmp_path: Path, algorithm: str) -> None:
    key = rsa.generate_private_key(65537, 2048) if algorithm == "RS256" else ec.generate_private_key(ec.SECP256R1())
    kind = jwt.algorithms.RSAAlgorithm if algorithm == "RS256" else jwt.algorithms.ECAlgorithm
    public = kind.to_jwk(key.public_key(), as_dict=True)
    public = {name: public[name] for name in ("kty", "n", "e", "crv", "x", "y") if name in public}
    jwks = {"keys": [public | {"kid": "k", "alg": algorithm, "use": "sig"}]}
    client = eight.register_machine(token_endpoint_auth_method="private_key_jwt", jwks=jwks)
    (tmp_path / "key.pem").write_bytes(pem(key))
    known = {"client_id": client["client_id"], "private_key": tmp_path / "key.pem"}
    tokens = await call_as_machine(eight, tmp_path, **known)
    assert tokens["scope"] == SENTIMENT and "refresh_token" not in tokens
    claims = jwt.decode(tokens["access_token"], options={"verify_signature": False})
    assert claims["sub"] == client["client_id"]


async def test_a_machine_shows_its_secret(eight: InProcess, tmp_path: Path) -> None:
    client = eight.register_machine(token_endpoint_auth_method="client_secret_basic")
    known = {"client_id": client["client_id"], "client_secret": client["client_secret"]}
    assert (await call_as_machine(eight, tmp_path, **known))["scope"] == SENTIMENT
    assert client["client_secret"] not in (tmp_path / "kept.json").read_text()


async def test_it_shows_it_to_nobody_but_its_issuer(eight: InProcess, tmp_path: Path) -> None:
    with pytest.raises(Stop, match="The credentials belong to https://as.example.com"):
        known = {"client_id": "x", "client_secret": "the-secret"}
        await call_as_machine(eight, tmp_path, issuer="https://as.example.com", **known)
    assert not [one for one in eight.exchanges if one.request.url.path == "/token"]


async def test_a_wrong_secret_is_one_sentence(eight: InProcess, tmp_path: Path) -> None:
    client = eight.register_machine(token_endpoint_auth_method="client_secret_basic")
    with pytest.raises(Stop, match="gives no token") as no:
        await call_as_machine(eight, tmp_path, client_id=client["client_id"], client_secret="wrong-secret")
    assert "wrong-secret" not in str(no.value)


def test_a_key_that_does_not_fit_is_one_sentence(tmp_path: Path) -> None:
    known = {"is_machine": True, "client_id": "x", "issuer": "https://as.example.com"}
    (tmp_path / "key.pem").write_bytes(pem(ec.generate_private_key(ec.SECP384R1())))
    (tmp_path / "ed.pem").write_bytes(pem(ed25519.Ed25519PrivateKey.generate()))
    (tmp_path / "no key.pem").write_text("this is no key")
    for name in ("key.pem", "ed.pem", "no key.pem", "nothing"):
        with pytest.raises(Stop) as no:
            machine(Options("http://localhost/", private_key=tmp_path / name, **known), None)
        assert "this is no key" not in str(no.value)


# ── small things ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "schema", "expected"),
    [
        ("5", {"type": "string"}, "5"),
        ("5", {"type": "integer"}, 5),
        ("05", {"type": "integer"}, "05"),
        ('{"a": "\\ud800"}', {"type": "object"}, '{"a": "\\ud800"}'),
        ('{"a": 1}', {"type": "object"}, {"a": 1}),
        ('{"a": 1}', {"type": "string"}, '{"a": 1}'),
        ("[1]", {"anyOf": [{"type": "array"}, {"type": "null"}]}, [1]),
        ("null", {"type": ["string", "null"]}, None),
        ("ACME", {"type": "object"}, "ACME"),
        ('"x"', {"type": "string"}, '"x"'),
        ("true", {}, True),
        ("5", {"$ref": "#/x"}, 5),
        ("[" * 100_000, {"type": "array"}, "[" * 100_000),
    ],
)
def test_a_value_is_json_where_the_tool_wants_it(text: str, schema: dict, expected: object) -> None:
    class Tool:
        input_schema = {"properties": {"key": schema}}

    assert typed_value(text, Tool(), "key") == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("42", "42"), ("true", "true"), ("null", "null"), ('{"A": 3}', {"A": 3}), ("[1]", [1])]
)
def test_for_a_tool_that_is_not_listed_only_what_looks_like_json_is(text: str, expected: object) -> None:
    assert typed_value(text, None, "key") == expected


@pytest.mark.parametrize("properties", [None, [], "x", {"key": True}, {"key": None}, {"key": ["string"]}])
def test_a_tool_with_an_odd_schema_can_be_called(properties: object) -> None:
    tool = Tool(name="odd", input_schema={"type": "object", "properties": properties})
    assert typed_value("5", tool, "key") == 5 and list(properties_of(tool)) in ([], ["key"])


def test_an_empty_list_says_so() -> None:
    assert table("Tools", {}) == "Tools: nothing."


# ── servers that never end ────────────────────────────────────────────────────

PACKED = gzip.compress(bytes(20_000_000))
OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
ENDLESS = {
    "large": (OK + b"\r\n", b" " * 100_000, 0),
    "packed": (OK + b"Content-Encoding: gzip\r\n\r\n" + PACKED, b"", 5),
    "slow": (OK + b"\r\n", b" ", 0.05),
    "slow from the beginning": (OK + b"X: ", b"x", 0.05),
    "silent": (b"", b"", 5),
    "in its refusal": (b"HTTP/1.0 401 \r\nWWW-Authenticate: Bearer\r\n\r\n", b" " * 100_000, 0),
    "on its way elsewhere": (b"HTTP/1.1 307 \r\nLocation: /other\r\n\r\n", b" " * 100_000, 0),
}


@pytest.fixture(params=ENDLESS)
def endless(request: pytest.FixtureRequest) -> Iterator[str]:
    """An MCP server that wants a token, and answers each other question without an end."""
    begin, more, pause = ENDLESS[request.param]

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if self.path != "/mcp" or b"401" in begin:
                return self.do_GET()
            self.wfile.write(b"HTTP/1.0 401 \r\nWWW-Authenticate: Bearer\r\n\r\n")

        def do_GET(self) -> None:
            with contextlib.suppress(OSError):
                self.wfile.write(begin)
                while not over.wait(pause):
                    self.wfile.write(more)

        log_message = print

    over, server = threading.Event(), ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    over.set()
    server.shutdown()
    server.server_close()


async def test_an_answer_without_an_end_is_ended(endless: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most 1 MB, unpacked, and half a minute: for metadata, and for giving tokens back, which are then forgotten."""
    monkeypatch.setattr(session, "HALF_A_MINUTE", 0.5)
    options = Options(f"{endless}/mcp")
    held = Belongings(Store(File(tmp_path / "kept.json"), tmp_path), options, lambda _: None)
    with pytest.raises((Stop, httpx2.ReadTimeout)) as no, anyio.fail_after(4):
        async with http_client(options.server, session.provider_for(options, held)) as http:
            await http.post(options.server, json={})
    assert "more than 1000000 bytes" in sentence(no.value) or "takes too long" in sentence(no.value)
    held.issuer, held.revocation_endpoint = endless, f"{endless}/revoke"
    await held.set_client_info(OAuthClientInformationFull(client_id="us"))
    await held.set_tokens(OAuthToken(access_token="t"))
    with anyio.fail_after(4):
        assert await session.log_out(options, held) == {"logged_out": True, "revoked": False}
    assert not held.kept()


@pytest.fixture
def over_tls(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An address that only those can reach who trust this authority."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
    server.RequestHandlerClass = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}/README.md", tmp_path / "ca.pem"
    server.shutdown()
    server.server_close()


async def test_an_authority_of_ones_own_is_trusted_if_it_is_named(
    over_tls: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, authority = over_tls
    with pytest.raises(httpx2.ConnectError) as no:
        async with http_client(url) as http:
            await http.get(url)
    assert "certificate" in sentence(no.value)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    async with http_client(url) as http:
        assert (await http.get(url)).status_code == 200


# ── the program ───────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def servers() -> Iterator[None]:
    with started("serve", "08") as process:
        lines: list[str] = []
        threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True).start()
        threading.Thread(target=lambda: lines.extend(process.stderr), daemon=True).start()
        assert until(lambda: any("Ctrl-C ends" in line for line in lines), 30), lines
        yield


class Program:
    """`python -m client`, with a visitor who opens every address that it shows."""

    def __init__(self, folder: Path) -> None:
        ports = free_ports()
        self.server = f"http://localhost:{ports['MCP_PORT']}/mcp"
        self.variables = environment(MCP_CLIENT_STORE=str(folder / "kept.json"), MCP_SERVER=self.server)

    def start(self, *words: str, person: bool = True, **more: object) -> subprocess.Popen:
        """`person`: somebody reads what it says, and would open an address."""
        return subprocess.Popen(
            [sys.executable, "-m", "client", *(["--no-browser"] if person else []), *words],
            cwd=ROOT,
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            **{"stdin": subprocess.DEVNULL} | more,
        )

    def run(self, *words: str, press: str = "allow", person: bool = True) -> tuple[int, str, str]:
        process, said = self.start(*words, person=person), []

        def listen() -> None:
            for line in process.stderr:
                said.append(line)
                if "/authorize?" in line:
                    threading.Thread(target=browse, args=(line.strip(), press), daemon=True).start()

        listener = threading.Thread(target=listen)
        listener.start()
        out = process.stdout.read()
        listener.join(60)
        return process.wait(60), out, "".join(said)


def browse(url: str, press: str = "allow", follow: bool = True) -> str:
    """Alice signs in and presses a button, whatever the number of pages. The address where it ends."""
    with httpx2.Client(timeout=10) as browser:
        page = browser.get(url)
        for _ in range(6):
            if page.has_redirect_location:
                location = str(page.url.join(page.headers["location"]))
                if "/callback?" in location:
                    return browser.get(location, follow_redirects=True).text if follow else location
                page = browser.get(location)
                continue
            form, typed = Form(page.text), {"username": "alice", "password": "wonderland"}
            body = {name: typed.get(name, value) for name, value in form.fields if name != "scope"}
            body["scope"] = [value for name, value in form.fields if name == "scope"]
            body |= {name: value for name, value in form.buttons if value == press}
            page = browser.post(str(page.url.join(form.action)), data=body)
    raise AssertionError(page.text)


@pytest.fixture
def program(servers: None, tmp_path: Path) -> Program:
    return Program(tmp_path)


@pytest.fixture
def logged_in(program: Program) -> Program:
    code, out, err = program.run("login")
    assert code == 0 and out.startswith("Logged in to "), err
    return program


def test_a_day_with_it(logged_in: Program) -> None:
    run = logged_in.run
    assert run("call", "score_headline", "headline=ACME profit soars")[:2] == (0, "1.0\n")
    assert re.fullmatch(r"alice, through client \S+\n", run("whoami")[1])
    assert "score_headline" in run("tools")[1] and "customers://{id}" in run("resources")[1]
    assert json.loads(run("read", "customers://c-1")[1])["name"] == "Ada Brook"
    code, out, err = run("call", "rebalance", 'portfolio={"A": 3, "B": 5}')
    assert code == 0 and json.loads(out) == {"A": 4.0, "B": 4.0} and "Open this address" in err
    assert run("logout")[:2] == (0, "Logged out.\n")
    assert run("token")[0] == 1


@pytest.mark.thorough
def test_with_json_there_is_one_document_and_nothing_else(logged_in: Program) -> None:
    for line in (
        "login --json",
        "--json tools",
        "call score_headline headline=x --json",
        "--json resources",
        "read --json customers://c-1",
        "whoami --json",
        "token --json",
        "call nothing --json",
        "--json read customers://c-2",
        "call score_headline --json",
        "--json logout",
        "token --json",
    ):
        code, out, err = logged_in.run(*line.split())
        found = json.loads(out)
        assert code == (1 if "error" in found else 0) and "Traceback" not in err


def test_with_json_a_failure_is_a_document_too(program: Program) -> None:
    for line in ("token --json", "--json token"):
        code, out, err = program.run(*line.split())
        assert code == 1 and json.loads(out)["error"] == err.strip()


def test_the_token_is_shown_only_if_it_is_asked_for(logged_in: Program) -> None:
    raw = logged_in.run("token", "--raw")[1].strip()
    said = "".join(logged_in.run("token")[1:] + logged_in.run("token", "--json")[1:])
    assert raw.count(".") == 2 and not any(part in said for part in raw.split("."))


def test_no_secret_is_ever_said(program: Program, tmp_path: Path) -> None:
    said = "".join(program.run("login")[1:]) + "".join(program.run("call", "whoami")[1:])
    kept = json.loads((tmp_path / "kept.json").read_text())
    (tokens,) = (json.loads(value)["tokens"] for name, value in kept.items() if name.startswith("tokens"))
    assert not any(tokens[name] in said for name in ("access_token", "refresh_token"))


def test_a_user_who_says_no_is_heard(program: Program) -> None:
    code, out, err = program.run("login", press="deny")
    assert (code, out) == (1, "") and err.splitlines()[-1].startswith("The authorization server says no")


def test_without_a_terminal_nobody_is_asked_and_the_way_out_is_named(logged_in: Program, tmp_path: Path) -> None:
    def refused(*words: str) -> str:
        code, out, err = logged_in.run(*words, person=False)
        assert (code, out) == (1, "") and len(err.splitlines()) == 1, err
        return err

    login = f"python -m client --server {logged_in.server}"
    for _ in range(3):  # which is no step-up that did not help
        said = refused("call", "rebalance", 'portfolio={"A": 1}')
        assert said.startswith("tools/call rebalance needs more than was granted, and nobody is here to ask.")
        assert f"run `{login} --scope '" in said and REBALANCE in said
    logged_in.run("logout")
    before = (tmp_path / "kept.json").read_text()
    for words in (["tools"], ["call", "whoami"]):
        assert refused(*words).endswith(f"run `{login} login`.\n")
    assert (tmp_path / "kept.json").read_text() == before


def test_options_that_contradict_what_is_kept_are_refused(logged_in: Program) -> None:
    for words in (["--client-id", "another", "tools"], ["--issuer", "https://as.example.com", "token"]):
        code, out, err = logged_in.run(*words)
        assert (code, out) == (1, "") and err.startswith(f"You are logged in to {logged_in.server} as the client ")
        assert "`login` with these options begins anew" in err
    assert logged_in.run("whoami")[0] == 0


def test_the_address_can_be_pasted_back(program: Program) -> None:
    process = program.start("login", stdin=subprocess.PIPE)
    url = next(line.strip() for line in process.stderr if "/authorize?" in line)
    process.stdin.write("nonsense\nhttp://127.0.0.1/callback?code=x&state=y\n\n")
    process.stdin.write(browse(url, follow=False) + "\n")
    process.stdin.flush()
    assert process.wait(30) == 0
    out, err = process.stdout.read(), process.stderr.read()
    assert out.startswith("Logged in") and err.count("not the address we wait for") == 2


@pytest.mark.thorough
def test_and_need_not_be(program: Program) -> None:
    process = program.start("login", stdin=subprocess.PIPE)
    browse(next(line.strip() for line in process.stderr if "/authorize?" in line))
    assert process.wait(30) == 0


@pytest.mark.parametrize("status", [429, 503])
async def test_a_server_that_is_away_is_named(status: int) -> None:
    async with http_client("http://localhost:8000/mcp") as http:
        (hook,) = http.event_hooks["response"]
        request = httpx2.Request("POST", "http://localhost:8000/mcp")
        with pytest.raises(Stop, match=f"says no: '{status} "):
            await hook(httpx2.Response(status, request=request))


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (421, {"error": "invalid_request", "error_description": "wrong\x1b[2J host"}, "says no: 'wrong [2J host'"),
        (403, {"error": "access_denied"}, "says no: 'access_denied'"),
        (403, [], "says no: '403 Forbidden'"),
        (400, {"error": "invalid_request"}, "says no: 'invalid_request'"),
        (400, {}, ""),
        (404, {"jsonrpc": "2.0", "id": None, "error": {"code": -32601, "message": "x"}}, ""),
        (403, {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "x"}}, ""),
    ],
)
async def test_what_a_server_says_with_its_no_is_told(status: int, body: object, said: str) -> None:
    async with http_client("http://localhost:8000/mcp") as http:
        (hook,) = http.event_hooks["response"]
        answer = httpx2.Response(status, json=body, request=httpx2.Request("POST", "http://localhost:8000/mcp"))
        try:
            await hook(answer)
        except Stop as no:
            assert said and said in str(no)
        else:
            assert not said


def test_many_processes_renew_once(logged_in: Program) -> None:
    steps = [sys.executable, "-m", "steps", "expire"]
    subprocess.run(steps, cwd=ROOT, env=logged_in.variables, check=True, capture_output=True)
    running = [logged_in.start("call", "whoami") for _ in range(3)]
    ended = [(*process.communicate(timeout=60), process.returncode) for process in running]
    assert all(code == 0 and out.startswith("alice") for out, _, code in ended), ended
    assert logged_in.run("whoami")[0] == 0


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_ends_it_with_130(program: Program) -> None:
    for person in (True, False):
        process = program.start("login", person=person, stdin=subprocess.PIPE)
        next(line for line in process.stderr if "/authorize?" in line)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert "Traceback" not in process.stderr.read()


def nobody_there() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.mark.parametrize("words", [["login"], ["whoami", "--json"]])
def test_a_dead_server_is_one_sentence(tmp_path: Path, words: list[str]) -> None:
    program = Program(tmp_path)
    program.variables["MCP_SERVER"] = f"http://localhost:{nobody_there()}/mcp"
    code, out, err = program.run(*words)
    assert code == 1 and len(err.splitlines()) == 1 and "does not answer" in err, err
    assert not out or json.loads(out)["error"]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nothing"],
        ["call"],
        ["call", "x", "no equals sign"],
        ["call", "x", "a=1", "a=2"],
        ["--server", "http://mcp.example.com/mcp", "tools"],
        ["--server", "javascript:1", "tools"],
        ["--server", "http://user@localhost/mcp", "tools"],
        ["--server", "http://localhost/mcp#x", "tools"],
        ["--machine", "tools"],
        ["--machine", "--client-id", "x", "--client-secret", "y", "tools"],
        ["--client-id", "x", "--client-secret", "y", "tools"],
        ["--client-metadata-url", "http://x/y", "tools"],
        ["--client-metadata-url", "https://x/", "tools"],
        ["--insecure", "tools"],
    ],
)
def test_wrong_usage_is_2(words: list[str]) -> None:
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 2 and not done.stdout and "Usage" in done.stderr


def test_bytes_that_are_no_text_are_wrong_usage_too() -> None:
    machine = ["--machine", "--issuer", "http://localhost", "--client-secret", "x", "--client-id", "\udcff", "tools"]
    for words in (["call", "x", "a=\udcff"], ["call", "\udcff"], ["read", "\udcff"], machine):
        assert CliRunner().invoke(cli, words).exit_code == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--machine"], "--machine needs --client-id and --issuer and --client-secret or --private-key too."),
        (["--machine", "--client-id", "x", "--client-secret", "y"], "--machine needs --issuer too."),
        (["--machine", "--client-id", "x", "--issuer", "y"], "--machine needs --client-secret or --private-key too."),
        (["--client-id", "x", "--client-secret", "y"], "--client-secret needs --issuer too."),
        (["--server", "localhost:8000/mcp"], "--server begins with http:// or https://"),
    ],
)
def test_a_mistake_is_named_and_nothing_else(words: list[str], said: str) -> None:
    done = CliRunner().invoke(cli, [*words, "tools"])
    assert done.exit_code == 2 and said in done.stderr


def test_and_so_says_the_program(tmp_path: Path) -> None:
    code, out, err = Program(tmp_path).run("--machine", "tools")
    assert code == 2 and not out and "Traceback" not in err and "--machine needs --client-id" in err


def test_help_shows_examples_and_does_not_wait_for_the_sdk(tmp_path: Path) -> None:
    code, out, _ = Program(tmp_path).run("--help")
    assert code == 0 and "Examples:" in out and "MCP_SERVER" in out
    script = "import sys, client.cli; sys.exit('mcp' in sys.modules or 'rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT).returncode == 0
