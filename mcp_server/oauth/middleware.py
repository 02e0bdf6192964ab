"""The door: nobody gets past it without being somebody who may do this, and every decision is written down."""

import itertools
import secrets
from typing import TYPE_CHECKING

from mcp.server.auth.middleware.auth_context import auth_context_var
from pydantic_core import to_json
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.audit import record
from shared.limits import Window

from . import requests, scopes
from .errors import Refused, contradiction, refuse, too_often
from .requests import Asked, parsed, read
from .scopes import name_in
from .tokens import Known

if TYPE_CHECKING:
    from .protected import Protected

OPEN = ("/health", "/ready", "/metrics")  # for machines that look after this one; no word about them is written


class Door:
    """ASGI middleware around a Starlette app: it hands requests for the resource to `mcp`, and others to `app`."""

    def __init__(self, app: ASGIApp, mcp: ASGIApp, protected: "Protected"):
        self.app, self.mcp = app, mcp
        self.settings, self.needs, self.trail = protected.settings, protected.needs, protected.trail
        self.verifier, self.api_keys = protected.verifier, protected.api_keys
        self.metrics, self.refusals = self.verifier.metrics, self.verifier.refusals
        self.path, self.oauth, self.limit = self.settings.path, self.settings.oauth, self.settings.body_limit
        self.host = self.settings.origin.partition("://")[2].encode()
        self.origins = [origin.encode() for origin in (self.settings.origin, *self.settings.cors_origins)]
        self.failures = Window(self.settings.failures_per_minute)
        self.calls = Window(self.settings.calls_per_minute)
        headers = self.settings.deprecation_headers.items()
        self.deprecation = [(name.lower().encode(), value.encode()) for name, value in headers]
        self.run, self.numbers = secrets.token_urlsafe(9), itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN:
            return await self.app(scope, receive, send)
        asked = Asked(scope)
        record.set(asked.about)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.write_line(asked, message["status"])
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
            self.metrics.refusals.labels(no.reason, no.rule).inc()
            await refuse(no)(scope, receive, answer)
        except Exception:  # a bug of ours, which stays loud; but it was a decision too
            self.write_line(asked, 500)
            raise

    async def to_the_resource(self, scope: Scope, receive: Receive, send: Send, asked: Asked) -> None:
        known = await self.who_is_it(asked)
        asked.about |= known.about
        if self.calls.limit:
            self.count_a_call((known.about["client"], known.about["who"]))
        if asked.method == "POST":
            receive = replay(self.judged(asked, known, await read(receive, self.limit)), receive)
        key = known.about.get("key")
        (self.metrics.calls.labels("api_key", key) if key else self.metrics.calls_by_token).inc()
        scope["user"] = known.user
        token = auth_context_var.set(known.user)  # so that `get_access_token()` works in tools
        try:
            await self.mcp(scope, receive, send)
        finally:
            auth_context_var.reset(token)

    def write_line(self, asked: Asked, status: int) -> None:
        """One JSON object per decision: what, with which outcome, and who, which client, why if it is known."""
        self.trail.line(
            {
                "request": f"{self.run}-{next(self.numbers)}",
                "what": f"{asked.method} {asked.path}",
                "from": asked.address,
                "outcome": "refused" if status >= 400 else "done",
                "status": status,
                **asked.about,
            }
        )

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
        """Counted before it is judged: whoever sends a thousand at once has sent them all too early."""
        for rule in requests.GUESS_RULES:
            rule(asked, self)
        self.failures.count(asked.address)
        if raw is None:
            raise self.refusals.no_token("invalid_api_key")
        try:
            known = await self.verifier.who(raw)
        except Refused as no:
            if no.status != 401:
                self.failures.take_back(asked.address)
            raise
        self.failures.take_back(asked.address)
        return known

    def count_a_call(self, principal: tuple[str, str]) -> None:
        if wait := self.calls.wait(principal):
            raise too_often(wait, "calls_per_minute")
        self.calls.count(principal)

    def judged(self, asked: Asked, known: Known, body: bytes) -> bytes:
        """Judge the message, and give back exactly what was judged: two readers may read the same bytes differently."""
        message = parsed(asked, body, self.limit)
        if message is None:
            raise self.refusals.bad_request("send one JSON object")
        asked.name = name_in(message)
        asked.about["operation"] = f"{message.get('method')} {asked.name}"[:100].rstrip()
        for rule in scopes.BODY_RULES:
            if not rule(message):
                raise self.refusals.bad_request("The token stands in the header, and only there")
        for rule in scopes.ANNOUNCEMENT_RULES:
            if not rule(asked, message):
                raise contradiction(message)
        for rule in scopes.SCOPE_RULES:
            if not rule(message, known.user.scopes, self.needs):
                raise self.refusals.too_little(self.needs.of(message))
        return to_json(message)


def replay(body: bytes, receive: Receive) -> Receive:
    """The same again, and then whatever comes after it."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return left.pop() if left else await receive()

    return again
