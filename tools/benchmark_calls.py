"""What a tool call costs behind each kind of door: unprotected, ours, and the SDK's with plain PyJWT."""

import json
import secrets
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from tools import load, pairs
from tools.load import Lines
from tools.pairs import Row, Took
from tools.serve_one import SCOPE
from tools.served import MCP_PORTS, Served, Servers

PART = "calls"
CONCURRENCY = (1, 8)
SEEN, FIRST_SEEN = 1.07, 1.40  # times the same call without authorization
LIFETIME = 3600  # seconds that a token lives: longer than a run
MESSAGE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {
        "name": "add",
        "arguments": {"a": 20, "b": 22},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "a benchmark", "version": "0"},
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    },
}
HEADERS = {
    "Accept": "application/json, text/event-stream",
    "Content-Type": "application/json",
    "MCP-Protocol-Version": "2026-07-28",
    "Mcp-Method": "tools/call",
    "Mcp-Name": "add",
}
BODY = json.dumps(MESSAGE).encode()
NEEDLE = b'"text":"42"'


@dataclass(frozen=True)
class Size:
    """How much is measured: pairs, and calls in each half of a pair."""

    pairs: int
    calls: int


def size(quick: bool) -> Size:
    return Size(3, 8) if quick else Size(160, 24)


# ── tokens ────────────────────────────────────────────────────────────────────


class Issuer:
    """Makes tokens as our authorization server does, and publishes the keys at `jwks_uri` while a `with` lasts."""

    def __init__(self, port: int, audience: str):
        self.url, self.audience, self.port = f"http://localhost:{port}", audience, port
        self.keys = {
            "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
            "ES256": ec.generate_private_key(ec.SECP256R1()),
        }
        public = {
            "RS256": RSAAlgorithm.to_jwk(self.keys["RS256"].public_key(), as_dict=True),
            "ES256": ECAlgorithm.to_jwk(self.keys["ES256"].public_key(), as_dict=True),
        }
        self.jwks = {"keys": [key | {"kid": name, "alg": name, "use": "sig"} for name, key in public.items()]}

    @property
    def jwks_uri(self) -> str:
        return f"{self.url}/jwks"

    def token(self, algorithm: str) -> str:
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": self.audience,
            "sub": "alice",
            "client_id": secrets.token_urlsafe(16),
            "scope": SCOPE,
            "iat": now,
            "exp": now + LIFETIME,
            "jti": secrets.token_urlsafe(24),
        }
        return jwt.encode(claims, self.keys[algorithm], algorithm, headers={"kid": algorithm, "typ": "at+jwt"})

    def __enter__(self) -> "Issuer":
        document = json.dumps(self.jwks).encode()

        class Keys(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(document)))
                self.end_headers()
                self.wfile.write(document)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer((load.HERE, self.port), Keys)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


# ── calls ─────────────────────────────────────────────────────────────────────


def call(host: str, token: str = "") -> bytes:
    shown = {"Authorization": f"Bearer {token}"} if token else {}
    return load.request("POST", "/mcp", host, HEADERS | shown, BODY)


def burst(server: Served, lines: Lines, wanted: list[bytes], what: str) -> Took:
    """All of these calls, shared out among the connections. Returns what one of them took."""
    count = len(lines.lines)
    scripts = [load.repeated(wanted[n::count], 200, NEEDLE, what) for n in range(count)]
    before = server.processor()
    took = lines.run(scripts)
    return Took(took / len(wanted), (server.processor() - before) / len(wanted))


class Doors:
    """The servers of this part, all of them up, each with the same tool behind."""

    def __init__(self, servers: Servers, issuer: Issuer, port: int):
        told = {"OAUTH_ISSUER": issuer.url, "OAUTH_AUDIENCE": issuer.audience, "OAUTH_JWKS_URI": issuer.jwks_uri}
        audit = str(servers.subfolder("mcp") / "audit.log")
        self.issuer = issuer
        self.unprotected = servers.rival("unprotected", servers.port(MCP_PORTS))
        self.ours = servers.rival("protected", port, AUDIT_LOG=audit, **told)
        self.sdk = servers.rival("sdk_verifier", servers.port(MCP_PORTS), KEYS=json.dumps(issuer.jwks), **told)

    def close(self, servers: Servers) -> None:
        for server in (self.unprotected, self.ours, self.sdk):
            servers.end(server)

    def compare(self, server: Served, lines: int, tokens: list[str], measured: Size, what: str) -> pairs.Pairs:
        """Calls of this server, in turns with calls of the unprotected one. One token: the same for all calls."""
        ready = [call(server.host, token) for token in tokens]
        plain = [call(self.unprotected.host)] * measured.calls

        def next_calls(turn: int) -> list[bytes]:
            return ready * measured.calls if len(ready) == 1 else ready[turn * measured.calls :][: measured.calls]

        with load.connected(server.port, lines) as own, load.connected(self.unprotected.port, lines) as other:
            for _ in range(3):  # warm
                burst(server, own, [call(server.host, self.issuer.token("ES256"))] * measured.calls, what)
                burst(self.unprotected, other, plain, "unprotected")
            return pairs.alternate(
                lambda turn: burst(server, own, next_calls(turn), what),
                lambda turn: burst(self.unprotected, other, plain, "unprotected"),
                measured.pairs,
            )


def rows(servers: Servers, quick: bool, say: Callable[[str], object]) -> list[Row]:
    port = servers.port(MCP_PORTS)
    with Issuer(servers.port(MCP_PORTS), f"http://localhost:{port}/mcp") as issuer:
        doors = Doors(servers, issuer, port)
        found = [row for lines in CONCURRENCY for row in table(doors, lines, size(quick), say)]
        doors.close(servers)
    return found


def table(doors: Doors, lines: int, measured: Size, say: Callable[[str], object]) -> list[Row]:
    found, plain = [], []
    for algorithm in ("RS256", "ES256"):
        one = [doors.issuer.token(algorithm)]
        many = [doors.issuer.token(algorithm) for _ in range(measured.calls * measured.pairs)]
        for name, server, tokens, bar in (
            ("ours, token seen", doors.ours, one, SEEN),
            ("ours, token first seen", doors.ours, many, FIRST_SEEN),
            ("SDK TokenVerifier, plain PyJWT", doors.sdk, one, None),
        ):
            what = f"{name}, {algorithm}, {lines} at once"
            say(what)
            took = doors.compare(server, lines, tokens, measured, what)
            plain.append(took.theirs)
            found.append(pairs.at_most(PART, what, "µs", took, "unprotected", bar))
    alone = Row(PART, f"unprotected, {lines} at once", statistics.median(plain) * 1e6, "µs")
    return [alone, *found]
