"""Step 07 · what a patient attacker tries next, and why it does not work.

What stands before both servers, whatever they are asked: is it for us, is it too much, and what is written down.
"""

import json
import logging
import secrets
import time
from collections import deque
from contextvars import ContextVar

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# ── what we remember ──────────────────────────────────────────────────────────

WINDOW = 60  # seconds
LIMITS = {"/token": 20, "/consent": 20, "/revoke": 20, "/register": 100, "/authorize": 100}  # by address and window
ONLY_FAILURES_COUNT = ("/token", "/consent", "/revoke")
FAILED = (400, 401, 403)
MOST_ADDRESSES = 10_000
counted: dict[tuple[str, str], deque[float]] = {}  # when it happened, by path and address
ON_ALL = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
}
UNRECORDED = ("/health", "/style.css")
record: ContextVar[dict] = ContextVar("record")  # what the audit log will say about this request
audit_log = logging.getLogger("audit")

# ── how we say no ─────────────────────────────────────────────────────────────


class Stopped(Exception):
    """A request that gets no further than this file."""

    def __init__(self, status: int, error: str, why: str, **headers: str):
        self.status, self.error, self.why, self.headers = status, error, why, headers


def stopped(no: Stopped) -> JSONResponse:
    write_down(reason=no.error)
    return JSONResponse({"error": no.error, "error_description": no.why}, no.status, ON_ALL | no.headers)


# ── rules ─────────────────────────────────────────────────────────────────────


def own_host(request: Request, own: str) -> None:
    """A page whose name was made to point at this computer still sends its own name: RFC 9110 §7.4."""
    if request.headers.getlist("host") != [own.partition("://")[2]]:
        raise Stopped(421, "invalid_request", f"This server is {own}: ask for it by that name.")


def own_origin(request: Request, own: str) -> None:
    """No other website's page may talk to us. Our own form says null, because it sends no referrer."""
    usual = (own, "null") if request.url.path == "/consent" else (own,)
    if not all(origin in usual for origin in request.headers.getlist("origin")):
        raise Stopped(403, "invalid_request", "Pages of other websites may not send requests here.")


def no_picture(request: Request, own: str) -> None:
    """A link may lead here from anywhere, a picture in a stranger's page may not: it uses up the user's limits."""
    foreign = request.headers.get("sec-fetch-site") in ("cross-site", "same-site")
    if foreign and request.headers.get("sec-fetch-mode") != "navigate":
        raise Stopped(403, "invalid_request", "Pages of other websites may not send requests here.")


def not_too_often(request: Request, own: str) -> None:
    """OAuth 2.1 §7.7: nobody guesses for long."""
    times, limit = counted.get(place(request), deque()), LIMITS.get(request.url.path)
    while times and times[0] <= time.monotonic() - WINDOW:
        times.popleft()
    if limit and len(times) >= limit:
        wait = {"Retry-After": str(int(times[0] + WINDOW - time.monotonic()) + 1)}  # RFC 6585 §4
        raise Stopped(429, "temporarily_unavailable", "that was too much for one minute", **wait)


REQUEST_RULES = (
    own_host,
    own_origin,
    no_picture,
    not_too_often,
)


def count(request: Request) -> None:
    """Before anything is looked at: whoever sends a thousand guesses at once has sent them all too early."""
    if request.url.path in LIMITS:
        if len(counted) > MOST_ADDRESSES:
            counted.pop(next(iter(counted)))  # the one that came first
        counted.setdefault(place(request), deque()).append(time.monotonic())


def take_back(request: Request) -> None:
    if request.url.path in ONLY_FAILURES_COUNT and counted.get(place(request)):
        counted[place(request)].pop()  # it was no failure


def place(request: Request) -> tuple[str, str]:
    return request.url.path, request.client.host if request.client else ""


# ── the app ───────────────────────────────────────────────────────────────────


def write_down(**about: str) -> None:
    """What the line of the audit log says besides. Never a secret: names, decisions, reasons."""
    record.get({}).update(about)


class Hardened:
    """Before everything else: check, count, and write one line about what was decided."""

    def __init__(self, app: ASGIApp, own: str):
        self.app, self.own = app, own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in UNRECORDED:
            return await self.app(scope, receive, send)
        request = Request(scope)
        record.set({})

        try:
            for rule in REQUEST_RULES:
                rule(request, self.own)
        except Stopped as no:
            answer = stopped(no)
            audit(request, no.status)
            return await answer(scope, receive, send)
        count(request)

        async def audit_and_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] not in FAILED:
                    take_back(request)
                audit(request, message["status"])
            await send(message)

        try:
            await self.app(scope, receive, audit_and_send)
        except Exception:  # a bug of ours, which stays loud; but it was a decision too
            take_back(request)
            audit(request, 500)
            raise


def audit(request: Request, status: int) -> None:
    """One JSON object per decision: when, what, with which outcome, and who, which client, why if it is known."""
    about = {
        "time": time.time(),
        "request": secrets.token_urlsafe(12),
        "what": f"{request.method} {request.scope['path']}",
        "from": place(request)[1],
        "outcome": "refused" if status >= 400 else "done",
        "status": status,
    }
    audit_log.info(json.dumps(about | record.get()))
