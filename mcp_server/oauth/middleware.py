"""The door: nobody gets past it without being somebody who may do this, and every decision is written down."""

import asyncio
import time
from typing import TYPE_CHECKING

from mcp.server.auth.middleware.auth_context import auth_context_var
from pydantic_core import to_json
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.limits import Window

from . import requests
from .errors import Refused, refuse
from .requests import Asked, at_most, read, take_in
from .tokens import Known

if TYPE_CHECKING:
    from .protected import Protected

SESSIONS, IDLE = 100, 1800  # for one client and person; in seconds. The SDK has 10,000 for all, and ends idle ones
LONGEST = 3600  # seconds for which somebody may listen without asking anew
OPEN = ("/health", "/ready", "/metrics")  # for machines that look after this one; no word about them is written


class Door:
    """ASGI middleware around a Starlette app: it hands requests for the resource to `mcp`, and others to `app`."""

    def __init__(self, app: ASGIApp, mcp: ASGIApp, protected: "Protected"):
        self.app, self.mcp = app, mcp
        self.settings, self.needs, self.trail = protected.settings, protected.needs, protected.trail
        self.verifier, self.api_keys = protected.verifier, protected.api_keys
        self.counts, self.refusals = self.verifier.metrics.counts, self.verifier.refusals
        self.path, self.oauth, self.limit = self.settings.path, self.settings.oauth, self.settings.body_limit
        self.hosts = [host.encode() for host in self.settings.hosts]
        self.origins = [origin.encode() for origin in (self.settings.origin, *self.settings.cors_origins)]
        self.failures = Window(self.settings.failures_per_minute)
        self.undecided = Window(self.settings.failures_per_minute)  # those of them that may turn out to be none
        self.calls = Window(self.settings.calls_per_minute)
        self.sessions = Window(SESSIONS, IDLE)
        headers = self.settings.deprecation_headers.items()
        self.deprecation = [(name.lower().encode(), value.encode()) for name, value in headers]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN:
            return await self.app(scope, receive, send)
        asked = Asked(scope)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.write_line(asked, message["status"])
                if asked.method == "DELETE" and message["status"] == 200 and asked.path == self.path:
                    self.sessions.take_back(asked.user.owner)
                if "key" in asked.about:
                    message["headers"] = [*message["headers"], *self.deprecation]
            await send(message)

        try:
            for rule in requests.REQUEST_RULES:
                rule(asked, self)
            if asked.path == self.path:
                await self.to_the_resource(scope, receive, answer, asked)
            else:
                await self.app(scope, receive, answer)
        except Refused as no:
            asked.about |= {"outcome": "refused", "reason": no.reason} | ({"rule": no.rule} if no.rule else {})
            self.counts["mcp_auth_refusals", no.reason, no.rule] += 1
            await refuse(no)(scope, receive, answer)
        except Exception:  # a bug of ours, which stays loud; but it was a decision too
            self.write_line(asked, 500)
            raise

    def write_line(self, asked: Asked, status: int) -> None:
        """One JSON object per decision: what, with which outcome, and who, which client, why if it is known."""
        outcome = "refused" if status >= 400 else "done"
        line = {"what": f"{asked.method} {asked.path}", "from": asked.address, "outcome": outcome, "status": status}
        self.trail.line(line | asked.about)

    async def to_the_resource(self, scope: Scope, receive: Receive, send: Send, asked: Asked) -> None:
        known = await self.who_is_it(asked)
        asked.user = scope["user"] = known
        asked.about |= known.about
        if self.calls.limit:
            at_most(self.calls, known.owner, "calls_per_minute")
        if asked.method == "POST":
            receive = replay(self.judged(asked, await read(receive, self.limit)), receive)
        key = known.about.get("key")
        self.counts["mcp_auth_calls", "api_key" if key else "oauth", key or ""] += 1
        token = auth_context_var.set(known)  # so that `get_access_token()` works in tools
        try:
            if asked.method == "GET" or asked.called == "subscriptions/listen":
                await self.listen(scope, receive, send, known)
            else:
                await self.mcp(scope, receive, send)
        finally:
            auth_context_var.reset(token)

    async def listen(self, scope: Scope, receive: Receive, send: Send, known: Known) -> None:
        """Nobody listens for longer than their token lasts. Keys have no end, so their holders show them again."""
        left = (known.access_token.expires_at or float("inf")) + self.settings.leeway - time.time()
        try:
            async with asyncio.timeout(max(1, min(left, LONGEST))):
                await self.mcp(scope, receive, send)
        except TimeoutError:
            await send({"type": "http.response.body"})

    async def who_is_it(self, asked: Asked) -> Known:
        """Whom we know does not wait for the failures of others: a token seen a moment ago, or a good key."""
        raw, key = self.shown(asked)
        known = self.api_keys.who(key) if key is not None else self.verifier.known(raw)
        return known or await self.newcomer(asked, raw)

    def shown(self, asked: Asked) -> tuple[bytes | None, bytes | None]:
        """A token or an API key. OAuth 2.1 §5.1.1: the token stands in the header, and only there."""
        headers = asked.all(b"authorization") if self.oauth else []
        keys = asked.all(b"x-api-key") if self.api_keys else []
        if len(headers) > 1 or len(keys) > 1:
            raise self.refusals.bad_request("There is more than one Authorization header")  # RFC 9110 §5.3
        scheme, _, raw = headers[0].partition(b" ") if headers else (b"", b"", b"")
        is_token = scheme.lower() == b"bearer"
        if is_token and keys:
            raise self.refusals.bad_request("Show a token or an API key, not both")
        if not is_token and not keys:
            raise self.refusals.no_token()
        return (raw.lstrip(b" "), None) if is_token else (None, keys[0])

    async def newcomer(self, asked: Asked, raw: bytes | None) -> Known:
        """Somebody whom we do not know yet. Only what is refused goes on counting."""
        for rule in requests.GUESS_RULES:
            rule(asked, self)
        if raw is None:
            raise self.refusals.no_token("invalid_api_key")
        self.undecided.count(asked.address)
        try:
            known = await self.verifier.who(raw)
        except Refused as no:
            if no.status != 401:
                self.failures.take_back(asked.address)
            raise
        finally:
            self.undecided.take_back(asked.address)
        self.failures.take_back(asked.address)
        return known

    def judged(self, asked: Asked, body: bytes) -> bytes:
        """Judge the message, and give back exactly what was judged: two readers may read the same bytes differently."""
        take_in(asked, body, self)
        for rule in requests.MESSAGE_RULES:
            rule(asked, self)
        if asked.called == "initialize":
            at_most(self.sessions, asked.user.owner, "sessions")
        return to_json(asked.message)


def replay(body: bytes, receive: Receive) -> Receive:
    """The same again, and then whatever comes after it."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return left.pop() if left else await receive()

    return again
