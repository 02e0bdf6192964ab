"""What the tests add to a step in process: real sockets, tokens that no library would make, strict answers."""

import base64
import contextlib
import hashlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from unittest import mock
from urllib.parse import parse_qsl, urlsplit

import httpx2
import uvicorn
from sqlalchemy import select
from starlette.types import ASGIApp, Receive, Scope, Send

from attacks.programs import Finished
from attacks.world import (  # noqa: F401
    CALLBACK,
    CHALLENGE,
    LIST_TOOLS,
    MCP_HEADERS,
    NATIVE,
    VERIFIER,
    InProcess,
)
from auth_server import tables
from auth_server.storage import Client
from shared.addresses import ISSUER, RESOURCE  # noqa: F401
from shared.limits import Window


class World(InProcess):
    """A step, and the words for what cannot be asked on the wire. The finished programs know the same words."""

    @property
    def people(self) -> set[str]:
        return set(self.auth_server.PEOPLE)

    @property
    def upstream_token(self) -> str:
        """What the MCP server shows to the API behind it."""
        return self.mcp_server.UPSTREAM_TOKEN

    @property
    def refresh_lifetime(self) -> int:
        """In seconds."""
        return self.token_room.REFRESH_LIFETIME

    def pending(self) -> list[dict]:
        """What clients asked and no person has answered yet."""
        return list(self.auth_server.asks.values())

    def forget(self) -> None:
        """What is done beside the requests. A step forgets what is old with the next request."""

    def keep_client(self, client: dict) -> None:
        """A client as an operator would put it in, with a name and a secret of their choice."""
        self.loaded.module("clients").clients[client["client_id"]] = client

    def most_addresses(self, most: int) -> None:
        """How many the limits remember."""
        self.loaded.module("hardening").MOST_ADDRESSES = most

    def counted(self) -> list[tuple[str, str]]:
        """By path and address: whom the limits remember."""
        return list(self.loaded.module("hardening").counted)

    def patience(self, seconds: float) -> None:
        """How long the MCP server waits for keys."""
        self.bearer.PATIENCE = seconds

    def put_behind_the_door(self, app: ASGIApp) -> None:
        """In the place of the MCP server's tools, before anybody has asked for them."""
        self.mcp_server.guarded.app = app


class FinishedWorld(Finished):
    """The finished programs, with the words of `World`."""

    @property
    def people(self) -> set[str]:
        return {name for name, _ in self.auth_server.server.directory.everybody()}

    @property
    def upstream_token(self) -> str:
        return os.environ["UPSTREAM_TOKEN"]

    @property
    def refresh_lifetime(self) -> int:
        return self.auth_server.server.settings.refresh_lifetime

    def pending(self) -> list[dict]:
        with self.auth_server.server.database.look() as db:
            return list(map(json.loads, db.execute(select(tables.asks.c.asked)).scalars()))

    def forget(self) -> None:
        self.auth_server.server.store.purge(self.clock.time())

    def keep_client(self, client: dict) -> None:
        about = {name: value for name, value in client.items() if name not in ("client_id", "client_secret")}
        kept = Client(client["client_id"], about, hashlib.sha256(client["client_secret"].encode()).digest(), "operator")
        self.auth_server.server.store.add_client(kept, self.clock.time(), None)

    def most_addresses(self, most: int) -> None:
        for window in self.windows().values():
            window.most = most

    def counted(self) -> list[tuple[str, str]]:
        return [(path, address) for path, window in self.windows().items() for address in window.times]

    def windows(self) -> dict[str, Window]:
        _ = self.auth  # whoever asks first has the middleware built
        guard = self.auth_server.app.middleware_stack
        while not hasattr(guard, "windows"):
            guard = guard.app
        return guard.windows

    def patience(self, seconds: float) -> None:
        keys = self.loaded.module("mcp_server.oauth.keys")
        self.stack.enter_context(mock.patch.object(keys, "PATIENCE", seconds))

    def put_behind_the_door(self, app: ASGIApp) -> None:
        [door] = [middleware for middleware in self.mcp_server.app.user_middleware if "mcp" in middleware.kwargs]
        door.kwargs["mcp"] = app


@contextlib.contextmanager
def served(app: object) -> Iterator[str]:
    """The app on a real socket, for those who need one; its origin, which it believes to be its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
    for middleware in app.user_middleware:
        if "own" in middleware.kwargs:
            middleware.kwargs["own"] = origin
        if "protected" in middleware.kwargs:
            app = by_the_name_of(middleware.kwargs["protected"].settings.origin, app)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield origin
    finally:
        server.should_exit = True
        thread.join()


def by_the_name_of(origin: str, app: ASGIApp) -> ASGIApp:
    """As a proxy does it: whoever asks the socket has asked for this origin."""

    async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            others = [(name, value) for name, value in scope["headers"] if name != b"host"]
            scope = scope | {"headers": [(b"host", origin.partition("://")[2].encode()), *others]}
        await app(scope, receive, send)

    return proxy


def answer_in(redirect: httpx2.Response) -> dict[str, str]:
    assert redirect.status_code == 303, (redirect.status_code, redirect.text)
    return dict(parse_qsl(urlsplit(redirect.headers["location"]).query))


def raw_jwt(header: dict, claims: dict, signature: bytes = b"") -> str:
    """Three parts, whatever a library thinks of them."""
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def s256(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
