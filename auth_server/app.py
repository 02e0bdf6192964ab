"""The server put together: its rooms, what stands before them, and what goes on beside the requests."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shared.audit import Trail
from shared.limits import Window
from shared.operating import is_loopback

from . import authorization, introspection, metadata, pages, registration, rendering, revocation, token
from .accounts import Accounts
from .client_documents import Documents
from .context import AuthServer, Metrics, OAuthError, server_of
from .database import Database
from .demo import furnish
from .directory import Directory
from .guard import Guard
from .keys import Keys
from .parameters import address, shows_token
from .refusals import HANDLERS
from .settings import Settings
from .storage import Store

NO_STORE = {"Cache-Control": "no-store"}


def create_app(settings: Settings) -> Starlette:
    """An ASGI app with everything that belongs to it in `app.state.server`, an `AuthServer`.

    Raises `Stop` if the keys are not safe.
    """
    database = Database(settings.database_url)
    directory = Directory(database)
    server = AuthServer(
        settings=settings,
        database=database,
        store=Store(database),
        directory=directory,
        keys=Keys(Path(settings.data) / "keys", settings),
        accounts=Accounts(directory),
        documents=Documents(settings),
        metrics=Metrics(),
        trail=Trail(Path(settings.audit) if settings.audit else None),
        guesses=Window(settings.failures_per_window, float(settings.rate_window)),
    )
    if settings.demo:
        furnish(directory, server.accounts, settings.secure)
    routes = [Route(settings.path + path, endpoint, methods=methods) for path, endpoint, methods in ENDPOINTS]
    routes += [Route(path, metadata.server_metadata) for path in metadata.well_known(settings)]
    endpoints = frozenset(route.path.removeprefix(settings.path) for route in routes)
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, own=settings.origin, server=server, endpoints=endpoints)],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # a 307 would post the password once more: RFC 9700 §4.12
    app.state.server = server
    return app


async def health(_: Request) -> Response:
    """We are alive. Whoever restarts us when we are not should ask here."""
    return JSONResponse({"status": "ok"}, headers=NO_STORE)


async def ready(request: Request) -> Response:
    """200 if requests would succeed: the database answers, and there is a key to sign with. 503 if not."""
    server = server_of(request)
    problems = []
    try:
        await server.database.ask(server.database.first, text("SELECT 1"))
    except SQLAlchemyError:
        problems.append("the database does not answer")
    try:
        server.keys.current()
    except OAuthError:
        problems.append("there is no key to sign with")
    about = {"status": "not ready", "problems": problems} if problems else {"status": "ready"}
    return JSONResponse(about, 503 if problems else 200, NO_STORE)


async def metrics(request: Request) -> Response:
    """For this computer, or for whoever has the token. Raises `OAuthError` (403)."""
    server = server_of(request)
    here = is_loopback(address(request)) and not server.settings.proxies  # behind one everybody may seem to be here
    if not here and not shows_token(request, server.settings.metrics_token):
        raise OAuthError("access_denied", "Metrics are for the operator of this server.", 403)
    return Response(generate_latest(server.metrics.registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)


ENDPOINTS = [  # below the issuer's path
    ("/token", token.token, ["POST"]),
    ("/authorize", authorization.authorize, ["GET"]),
    ("/login", pages.login, ["POST"]),
    ("/consent", pages.look, ["GET"]),
    ("/consent", pages.decide, ["POST"]),
    ("/logout", pages.logout, ["POST"]),
    ("/account", pages.account, ["GET"]),
    ("/account/withdraw", pages.withdraw, ["POST"]),
    ("/register", registration.register, ["POST"]),
    ("/introspect", introspection.introspect, ["POST"]),
    ("/revoke", revocation.revoke, ["POST"]),
    ("/jwks", metadata.jwks, ["GET"]),
    ("/style.css", rendering.style, ["GET"]),
    ("/health", health, ["GET"]),
    ("/ready", ready, ["GET"]),
    ("/metrics", metrics, ["GET"]),
]


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    server: AuthServer = app.state.server
    purging = asyncio.create_task(purge_for_ever(server))
    try:
        yield
    finally:
        purging.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await purging
        server.database.close()
        server.trail.close()


async def purge_for_ever(server: AuthServer) -> None:
    """Nothing stays of a flow after its tokens have expired. What goes wrong is said, and tried again later."""
    while True:
        try:
            server.metrics.purged.inc(await server.store.ask(server.store.purge, time.time()))
            server.keys.purge()
        except (SQLAlchemyError, OSError) as problem:
            logging.getLogger("auth_server").error("purge: %s", type(problem).__name__)
        await asyncio.sleep(server.settings.purge_every)
