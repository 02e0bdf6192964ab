"""What stands before every endpoint: is it for us, is it too much, and one line about what was decided."""

import asyncio
import re
import secrets
import time

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.audit import record
from shared.limits import Window

from .context import AuthServer, Stopped
from .parameters import address, neighbourhood
from .refusals import refuse

EVERYTHING_COUNTS = ("/register", "/authorize", "/account")  # where something is kept, even for honest people
SUCCESS_IS_TAKEN_BACK = ("/token", "/login", "/consent", "/revoke")  # where something can be guessed
FAILURES_COUNT = ("/introspect",)  # a resource server may have many questions at once
FAILED = (400, 401, 403, 429)
OUR_FORMS = ("/login", "/consent", "/logout", "/account/withdraw")  # they send no referrer, so their origin is null
UNWATCHED = ("/health", "/ready", "/style.css")
UNRECORDED = ("/metrics",)
LONGEST = 16_000  # bytes of path and query
PATIENCE = 8.0  # seconds until a request is there with all that it says; less than we wait for it when we stop
ON_ALL = (  # where an answer does not say otherwise
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
)
HERE = r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?"
USUAL_PORTS = {"http": ":80", "https": ":443"}


class Guard:
    """Middleware around everything. `own`: our origin; `endpoints`: all paths that there are, below the issuer's."""

    def __init__(self, app: ASGIApp, own: str, server: AuthServer, endpoints: frozenset[str]):
        self.app, self.own, self.server, self.endpoints = app, own, server, endpoints
        settings, seconds = server.settings, float(server.settings.rate_window)
        limits = dict.fromkeys(SUCCESS_IS_TAKEN_BACK + FAILURES_COUNT, settings.failures_per_window)
        limits |= dict.fromkeys(EVERYTHING_COUNTS, settings.requests_per_window)
        self.windows = {endpoint: Window(limit, seconds) for endpoint, limit in limits.items()}
        scheme, _, host = own.partition("://")
        self.host = host.removesuffix(USUAL_PORTS[scheme]).lower()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self.endpoint(scope) in UNWATCHED:
            return await self.app(scope, receive, send)
        request, began = Request(scope), time.monotonic()
        record.set({})

        async def receive_in_time() -> Message:
            try:
                async with asyncio.timeout(began + PATIENCE - time.monotonic()):
                    return await receive()
            except TimeoutError:
                raise Stopped("invalid_request", f"send it all within {PATIENCE:g} seconds", 408) from None

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(one for one in ON_ALL if one[0] not in said)]
                self.decided(request, message["status"], began)
            await send(message)

        try:
            not_endless(scope)
            for rule in REQUEST_RULES:
                rule(request, self)
        except Stopped as no:
            return await refuse(request, no)(scope, receive, send_on)
        scope["let_in"] = True
        self.count(request, SUCCESS_IS_TAKEN_BACK + EVERYTHING_COUNTS)  # now: of a thousand guesses at once all count
        try:
            await self.app(scope, receive_in_time, send_on)
        except Exception:  # a bug of ours, which stays loud; but it was a decision too
            self.decided(request, 500, began)
            raise

    def count(self, request: Request, endpoints: tuple[str, ...]) -> None:
        if (endpoint := self.endpoint(request.scope)) in endpoints:
            self.windows[endpoint].count(neighbourhood(request))

    def decided(self, request: Request, status: int, began: float) -> None:
        """One JSON object: when, what, with which outcome, and who, which client, why if it is known."""
        endpoint, metrics = self.endpoint(request.scope), self.server.metrics
        if "let_in" not in request.scope:
            pass  # it was not counted, and it was no guess
        elif status in FAILED:
            self.count(request, FAILURES_COUNT)
        elif endpoint in SUCCESS_IS_TAKEN_BACK:
            self.windows[endpoint].take_back(neighbourhood(request))
        metrics.requests(endpoint, str(status)).inc()
        metrics.seconds(endpoint).inc(max(0.0, time.monotonic() - began))
        if endpoint not in UNRECORDED:
            about = {
                "request": secrets.token_urlsafe(12),
                "what": f"{request.method} {request.scope['path'][:200]}",
                "from": address(request),
                "outcome": "refused" if status >= 400 else "done",
                "status": status,
            }
            self.server.trail.line(about | record.get({}))

    def endpoint(self, scope: Scope) -> str:
        """Its path below the issuer's; "other" if there is none here, whatever a stranger made up."""
        path = scope["path"].removeprefix(self.server.settings.path)
        return path if path in self.endpoints else "other"


def not_endless(scope: Scope) -> None:
    """Much of a question is kept until a person answers it."""
    if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > LONGEST:
        raise Stopped("invalid_request", f"ask in {LONGEST} bytes at most", 414)


def own_host(request: Request, guard: Guard) -> None:
    """A page whose name was made to point at this computer still sends its own name: RFC 9110 §7.4."""
    hosts = [host.lower() for host in request.headers.getlist("host")]
    if hosts != [guard.host] and not metrics_here(request, guard):
        raise Stopped("invalid_request", f"This server is {guard.own}: ask for it by that name.", 421)


def over_tls(request: Request, guard: Guard) -> None:
    """Whoever goes past the proxy that speaks TLS for us gets nothing: OAuth 2.1 §1.5."""
    if guard.own.startswith("https:") and request.scope["scheme"] != "https" and not metrics_here(request, guard):
        raise Stopped("invalid_request", f"This server is {guard.own}: ask for it over TLS.", 421)


def metrics_here(request: Request, guard: Guard) -> bool:
    """Whoever reads the metrics on this computer need not know what the world calls us."""
    hosts = request.headers.getlist("host")
    return guard.endpoint(request.scope) == "/metrics" and all(re.fullmatch(HERE, host.lower()) for host in hosts)


def own_origin(request: Request, guard: Guard) -> None:
    """No other website's page may talk to us. Our own forms say null, because they send no referrer."""
    usual = [guard.own] + ["null"] * (guard.endpoint(request.scope) in OUR_FORMS)
    if not all(origin in usual for origin in request.headers.getlist("origin")):
        raise Stopped("invalid_request", "Pages of other websites may not send requests here.", 403)


def no_picture(request: Request, guard: Guard) -> None:
    """A link may lead here from anywhere. A picture or a frame in a stranger's page uses up the user's limits."""
    foreign = request.headers.get("sec-fetch-site") in ("cross-site", "same-site")
    followed = request.headers.get("sec-fetch-mode") == "navigate"
    if foreign and not (followed and request.headers.get("sec-fetch-dest", "document") == "document"):
        raise Stopped("invalid_request", "Pages of other websites may not send requests here.", 403)


def not_too_often(request: Request, guard: Guard) -> None:
    """OAuth 2.1 §7.7: nobody guesses for long."""
    window = guard.windows.get(guard.endpoint(request.scope))
    if window and (wait := window.wait(neighbourhood(request))):
        raise Stopped("temporarily_unavailable", "that was too much for one minute", 429, wait)  # RFC 6585 §4


REQUEST_RULES = (own_host, over_tls, own_origin, no_picture, not_too_often)
