"""A client and a browser in one, as scripts for tools/load.py: what a flow sends, and what it must be answered."""

import base64
import html
import json
import re
import secrets
import time
from collections import defaultdict
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from tools import load
from tools.load import Answer, Lines, Script, Wrong, expect

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # the pair of RFC 7636, appendix B
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
ON_THIS_COMPUTER = "http://127.0.0.1:4567/callback"
SCOPES = ("mcp:tools:sentiment", "mcp:resources:customer-data:read")
USERNAME, PASSWORD = "alice", "wonderland"
HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')
JSON = {"Content-Type": "application/json"}


class Visitor:
    """Registers a client, and allows it what it asks for. `took` has the seconds of each request, by its name."""

    def __init__(self, host: str, resource: str, redirect_uri: str = ON_THIS_COMPUTER, refreshing: bool = False):
        self.host, self.resource, self.redirect_uri, self.refreshing = host, resource, redirect_uri, refreshing
        self.session: dict[str, str] = {}
        self.took: dict[str, list[float]] = defaultdict(list)

    def asked(self, name: str, wanted: bytes, status: int, needle: bytes) -> Script:
        began = time.perf_counter()
        answer = yield wanted
        self.took[name].append(time.perf_counter() - began)
        return expect(answer, status, needle, name)

    def flow(self, client_id: str = "") -> Script:
        """All of it, for somebody who has signed in; a client that is known already does not register."""
        client_id = client_id or (yield from self.register())
        page, cookies = yield from self.page(client_id)
        code = yield from self.allow(page, cookies)
        yield from self.redeem(client_id, code)

    def flows(self, count: int) -> Script:
        for _ in range(count):
            yield from self.flow()

    # ── the client ────────────────────────────────────────────────────────────

    def register(self) -> Script:
        client = {
            "client_name": "A benchmark",
            "redirect_uris": [self.redirect_uri],
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", *(["refresh_token"] if self.refreshing else [])],
            "response_types": ["code"],
            "application_type": "native" if self.redirect_uri == ON_THIS_COMPUTER else "web",
            "scope": " ".join(SCOPES),
        }
        wanted = load.request("POST", "/register", self.host, JSON, json.dumps(client).encode())
        answer = yield from self.asked("/register", wanted, 201, b'"client_id"')
        return json.loads(answer.body)["client_id"]

    def redeem(self, client_id: str, code: str) -> Script:
        fields = [
            ("grant_type", "authorization_code"),
            ("client_id", client_id),
            ("code", code),
            ("code_verifier", VERIFIER),
            ("redirect_uri", self.redirect_uri),
            ("resource", self.resource),
        ]
        yield from self.asked("/token", load.form("/token", self.host, fields), 200, b'"access_token"')

    # ── the browser ───────────────────────────────────────────────────────────

    def authorization_request(self, client_id: str) -> bytes:
        ask = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": self.redirect_uri,
            "scope": " ".join(SCOPES),
            "state": secrets.token_urlsafe(16),
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "resource": self.resource,
        }
        return load.request("GET", f"/authorize?{urlencode(ask)}", self.host, carrying(self.session))

    def page(self, client_id: str) -> Script:
        """Returns what is in the page, and the cookies that came with it."""
        wanted = self.authorization_request(client_id)
        answer = yield from self.asked("/authorize", wanted, 200, b'name="decision"')
        return hidden_fields(answer), answer.cookies()

    def allow(self, page: dict[str, str], cookies: dict[str, str]) -> Script:
        fields = [*page.items(), *(("scope", scope) for scope in SCOPES), ("decision", "allow")]
        headers = carrying(self.session | cookies) | {"Origin": f"http://{self.host}"}
        wanted = load.form("/consent", self.host, fields, headers)
        answer = yield from self.asked("/consent", wanted, 303, b"code=")
        return parse_qs(urlsplit(answer.header("location")).query)["code"][0]

    def sign_in(self, lines: Lines) -> None:
        """Once, before anything is measured."""
        answers: list[Answer] = []
        lines.run([self.signing_in(answers), *(load.silent() for _ in lines.lines[1:])])
        self.session = answers[0].cookies()
        if "session" not in self.session:
            raise Wrong("Signing in brought no session.")

    def signing_in(self, answers: list[Answer]) -> Script:
        client_id = yield from self.register()
        page, cookies = yield from self.login_page(client_id)
        fields = [*page.items(), ("username", USERNAME), ("password", PASSWORD)]
        headers = carrying(cookies) | {"Origin": f"http://{self.host}"}
        answers.append(expect((yield load.form("/login", self.host, fields, headers)), 303, b"session=", "/login"))

    def login_page(self, client_id: str) -> Script:
        answer = expect((yield self.authorization_request(client_id)), 200, b'name="password"', "/authorize")
        return hidden_fields(answer), answer.cookies()


class SdkVisitor(Visitor):
    """The SDK's handler answers with a redirect to the page: one request more."""

    def page(self, client_id: str) -> Script:
        wanted = self.authorization_request(client_id)
        answer = yield from self.asked("/authorize", wanted, 302, b"/consent?request=")
        there = urlsplit(answer.header("location"))
        wanted = load.request("GET", f"{there.path}?{there.query}", self.host, carrying(self.session))
        answer = yield from self.asked("the page", wanted, 200, b'name="decision"')
        return hidden_fields(answer), {}

    def signing_in(self, answers: list[Answer]) -> Script:
        fields = [("username", USERNAME), ("password", PASSWORD)]
        answers.append(expect((yield load.form("/login", self.host, fields)), 303, b"session=", "/login"))


class Machine:
    """Client credentials. It is registered with the operator's `initial_access_token`."""

    def __init__(self, host: str, resource: str, lines: Lines, initial_access_token: str):
        self.host, self.resource = host, resource
        about = {"client_name": "A machine", "grant_types": ["client_credentials"], "scope": SCOPES[0]}
        headers = JSON | {"Authorization": f"Bearer {initial_access_token}"}
        wanted = load.request("POST", "/register", host, headers, json.dumps(about).encode())
        client = json.loads(expect(lines.one(wanted), 201, b'"client_secret"', "/register").body)
        self.client_id, self.client_secret = client["client_id"], client["client_secret"]

    def wanted(self) -> bytes:
        pair = f"{quote(self.client_id, safe='')}:{quote(self.client_secret, safe='')}"  # RFC 6749 §2.3.1
        basic = {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
        fields = [("grant_type", "client_credentials"), ("resource", self.resource), ("scope", SCOPES[0])]
        return load.form("/token", self.host, fields, basic)


def carrying(cookies: dict[str, str]) -> dict[str, str]:
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())} if cookies else {}


def hidden_fields(answer: Answer) -> dict[str, str]:
    return {name: html.unescape(value) for name, value in HIDDEN.findall(answer.body.decode())}
