"""The finished programs in this process, spoken to with the words that the steps are spoken to."""

import contextlib
import functools
import hashlib
import json
import logging
import os
import shutil
import tempfile
from contextlib import AbstractContextManager
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from unittest import mock
from urllib.parse import urljoin

import httpx2
import jwt
from cryptography.hazmat.primitives import serialization
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from attacks.loaded import Loaded, cheap_keys
from attacks.site import Surroundings
from attacks.world import ELSEWHERE, PASSWORDS, InProcess
from auth_server import accounts
from auth_server.app import create_app
from auth_server.settings import Settings
from shared import audit, limits
from shared.addresses import UPSTREAM
from shared.browser import Form
from tools.catalogue import FINISHED, step_named


class Switch:
    """An app that another can take the place of, for whoever is connected to it already."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


class Finished(InProcess):
    """`auth_server` and `mcp_server` with fresh stores; settings of the authorization server can be named.

    They keep nothing in their modules, so worlds in which no rule is taken out may use the same `loaded`.
    `around` is what the authorization server finds when it looks for other machines.
    """

    def __init__(self, raise_server_exceptions: bool = True, loaded: Loaded | None = None, **settings: object):
        self.number = FINISHED.number
        self.loud = raise_server_exceptions
        self.settings = settings
        self.stack = contextlib.ExitStack()
        self.loaded = loaded or self.stack.enter_context(Loaded(FINISHED))
        self.clock = self.loaded.clock
        self.clock.ahead = 0.0
        for module in (audit, limits):
            self.stack.enter_context(mock.patch.object(module, "time", self.clock))
        self.stack.enter_context(mock.patch.object(audit.Trail, "line", at_once))
        self.folder = self.stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        self.around = self.stack.enter_context(Surroundings())

    # ── the authorization server ──────────────────────────────────────────────────────────────────

    @functools.cached_property
    def auth_server(self) -> SimpleNamespace:
        settings = {"data": self.folder, "initial_access_token": self.initial_access_token(), "demo": True}
        settings |= {"loopback_documents": True} | self.settings
        made = self.loaded.module("auth_server.settings").Settings.load({}, **settings)
        if made.demo and not made.database and made.data == self.folder and not os.listdir(self.folder):
            shutil.copytree(furnished().name, self.folder, dirs_exist_ok=True)
        with cheap_keys(), loading_keys_once(), cheap_passwords(self.loaded.module("auth_server.accounts")):
            app = self.loaded.module("auth_server.app").create_app(made)
        app.state.server.documents.fetch.resolve = self.around.look_up
        return SimpleNamespace(app=app, server=app.state.server)

    def resource_server(self) -> dict[str, str]:
        directory, secret = self.auth_server.server.directory, "the secret of a resource server"
        known = replace(directory.resources()[self.resource], introspection_id="rs-1", secret_hash=sha256(secret))
        directory.put_resource(known, self.clock.time())
        return {"client_id": "rs-1", "client_secret": secret}

    def initial_access_token(self) -> str:
        return os.environ["INITIAL_ACCESS_TOKEN"]

    @property
    def signing_key(self) -> object:
        return self.auth_server.server.keys.current().private

    @property
    def key_id(self) -> str:
        return self.auth_server.server.keys.current().kid

    def signed(self, claims: dict, key: object = None, algorithm: str = "RS256", **header: object) -> str:
        header = {"typ": "at+jwt", "kid": self.key_id} | header
        return jwt.encode(claims, key or self.signing_key, algorithm, header)

    def new_signing_key(self) -> None:
        self.auth_server.server.keys.retire(self.key_id)

    # ── the MCP server ────────────────────────────────────────────────────────────────────────────

    @functools.cached_property
    def door(self) -> tuple[SimpleNamespace, ModuleType]:
        self.issuer_seen_from_there = Switch(self.auth_server.app)
        settings = self.loaded.module("mcp_server.oauth.config").Settings.from_environment({})
        app = self.loaded.module("mcp_server.market").create_app(settings, http=self.http_of_the_door())
        return SimpleNamespace(app=app), self.loaded.module("mcp_server.oauth.tokens")

    def http_of_the_door(self) -> httpx2.AsyncClient:
        reachable = {self.issuer: self.issuer_seen_from_there, UPSTREAM: customers()}
        self.http = httpx2.AsyncClient(mounts={url: httpx2.ASGITransport(app) for url, app in reachable.items()})
        return self.http

    def second_door(self, authorization_server: ASGIApp | None = None, **environment: str) -> TestClient:
        """Another such MCP server: with settings of its own, and perhaps another issuer in its sight."""
        settings = self.loaded.module("mcp_server.oauth.config").Settings.from_environment(environment)
        there = httpx2.ASGITransport(authorization_server or self.auth_server.app)
        http = httpx2.AsyncClient(mounts={self.issuer: there})
        app = self.loaded.module("mcp_server.market").create_app(settings, http=http)
        return self.stack.enter_context(self.client(app, self.resource.removesuffix("/mcp"), ELSEWHERE))

    def connect(self, authorization_server: object) -> None:
        _ = self.door
        self.issuer_seen_from_there.app = authorization_server

    def upstream(self) -> tuple[TestClient, list[httpx2.Request]]:
        _ = self.door
        heard: list[httpx2.Request] = []

        async def listen(request: httpx2.Request) -> None:
            if str(request.url).startswith(UPSTREAM):
                heard.append(request)

        self.http.event_hooks = {"request": [listen]}
        return self.client(customers(), UPSTREAM, ELSEWHERE), heard

    # ── people ────────────────────────────────────────────────────────────────────────────────────

    def consent_page(self, ask: dict, browser: httpx2.Client | None = None, username: str = "alice") -> httpx2.Response:
        """Whoever is not signed in, or as another, signs in first."""
        browser = browser or self.auth
        if getattr(browser, "signed_in", username) != username:
            for name in [name for name in browser.cookies if name.endswith("session")]:
                browser.cookies.delete(name)
        page = browser.get("/authorize", params=ask)
        assert page.status_code == 200, page.text
        if urljoin(str(page.url), Form(page.text).action).endswith("/login"):
            answer = self.sign_in(page, browser, {"username": username, "password": PASSWORDS.get(username, "")})
            assert answer.status_code == 303, answer.text
            page = browser.get(answer.headers["location"])
            browser.signed_in = username
        return page

    def wrong_password(self, ask: dict, **typed: object) -> httpx2.Response:
        browser = self.browser()
        typed = {"username": "alice", "password": "wrong"} | typed
        return self.sign_in(browser.get("/authorize", params=ask), browser, typed)

    def consent(
        self,
        ask: dict,
        username: str = "alice",
        decision: str = "allow",
        browser: httpx2.Client | None = None,
        **changes: object,
    ) -> httpx2.Response:
        fields = self.page(ask, browser, username)
        return (browser or self.auth).post("/consent", data=fields | {"decision": decision} | changes)


# ── what need not be made for every world ─────────────────────────────────────────────────────────


def cheap_passwords(accounts: ModuleType) -> AbstractContextManager:
    return mock.patch.object(accounts, "MEMORY", 8)


def loading_keys_once() -> AbstractContextManager:
    """While it is entered, a key that was checked before is not checked again."""
    return mock.patch.object(serialization, "load_pem_private_key", load_once)


load_once = functools.cache(serialization.load_pem_private_key)


@functools.cache
def furnished() -> tempfile.TemporaryDirectory:
    """What the demo has from the start, database and keys: to copy it is ten times as fast as to make it."""
    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    with cheap_keys(), cheap_passwords(accounts):
        app = create_app(Settings.load({}, data=folder.name, demo=True))
    app.state.server.database.close()
    return folder


@functools.cache
def customers() -> ASGIApp:
    """The API behind the MCP server. It keeps nothing, so one is enough."""
    return Loaded(step_named("08")).module("upstream").app


def sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def at_once(trail: audit.Trail, about: dict) -> None:
    """The audit trail, without its thread: whoever listens to the logs hears it before the answer is sent."""
    logging.getLogger("audit").info(json.dumps(about))
