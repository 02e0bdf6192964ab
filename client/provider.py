"""The SDK's `OAuthClientProvider`, supervised: we see everything that it is about to send, and every answer first.

The SDK does the flow; `Supervised` stops it where it is more forgiving than the specifications, and adds what it leaves
out: refreshing after a 401, one refresh for many callers, a ceiling for step-ups, a registration made anew once.
"""

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import httpx2
from filelock import FileLock
from mcp.client.auth import OAuthClientProvider, utils
from mcp.shared.auth import OAuthClientInformationFull, OAuthMetadata, OAuthToken, ProtectedResourceMetadata

from shared.stop import Stop

from . import rules
from .belongings import Belongings
from .options import Options
from .storage import taken
from .wire import asks_for_more, check_form, default_metadata, json_object, operation_of, readable, why_not

STEP_UPS = 2  # for one operation
TRIES = 4  # for one request; the HTTP client ends it after twenty exchanges


class Again(Exception):
    """What we held was of no use and is gone: begin again with the same question."""


class Supervised(OAuthClientProvider):
    """What people and machines have in common. `belongings` is the SDK's storage, and more than that.

    Raises `Stop`, with a sentence for a person, wherever it does not go on.
    """

    def __init__(self, options: Options, *args: Any, storage: Belongings, **more: Any) -> None:
        super().__init__(options.server, *args, storage=storage, **more)
        self.options, self.server, self.belongings, self.say = options, options.server, storage, storage.say
        self.configured_issuer = options.issuer
        self.document: dict = {}  # the metadata of the authorization server, as it came
        self.resource_document: dict = {}
        self.chosen = ""  # the issuer among those that the MCP server names
        self.answer: httpx2.Response | None = None  # the no that we are dealing with
        self.step_up = ""  # the operation it is for
        self.refreshing = False
        self.registered_again = options.is_machine  # a machine cannot register at all
        self.turn: FileLock | None = None
        self._alone = anyio.Lock()
        self.context.can_refresh_token = lambda: False  # else the SDK does, and at the MCP server if it knows no better

    async def _auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Send it; while the no says what to do about it, do that, and send it again."""
        if not self._initialized:
            await self._initialize()
        if self.context.is_token_valid():
            self._add_auth_header(request)
        answer, step_up, tries = (yield request), "", 0
        while asks_for_more(answer):
            if (tries := tries + 1) > TRIES:
                raise Stop(f"The MCP server refused the same request {TRIES} times. We do not go on.")
            async with self._alone:
                try:
                    if not await self._somebody_was_faster(request):
                        self._take_in(request, answer)
                        step_up = self.step_up
                        async with contextlib.aclosing(super()._auth_flow(request)) as sdk:
                            await anext(sdk)  # the request itself: its answer is here already
                            step = await sdk.asend(answer)
                            while step is not request:
                                reply = yield self._looked_over(step)
                                step = await sdk.asend(await self._judged(step, reply))
                except Again:
                    continue
                finally:
                    self._end_of_flow()  # before the request goes out: it may take its time
            self._add_auth_header(request)
            answer = yield request
        if step_up:
            self.belongings.count_step_up(step_up, 0)

    async def _initialize(self) -> None:
        await super()._initialize()
        self.context.token_expiry_time = self.belongings.kept().get("expires_at")

    async def _somebody_was_faster(self, request: httpx2.Request) -> bool:
        """Whether another task or process has got a token since. From here on it is our turn.

        A refresh token works once. Two who send it at the same time look like a thief and a victim, and lose it both.
        """
        self.turn = await taken(self.belongings.lock_path)
        await self._initialize()
        tokens = self.context.is_token_valid() and self.context.current_tokens
        return bool(tokens) and request.headers.get("Authorization") != f"Bearer {tokens.access_token}"

    def _take_in(self, request: httpx2.Request, answer: httpx2.Response) -> None:
        self.answer = answer
        self.step_up = operation_of(request) if answer.status_code == 403 else ""
        if self.step_up and self.belongings.step_ups().get(self.step_up, 0) >= STEP_UPS:
            why = f"{readable(self.step_up)} needs more than was granted"
            raise Stop(f"{why}. We asked {STEP_UPS} times, and stop asking; `login` begins anew.")

    def _end_of_flow(self) -> None:
        if self.turn:
            self.turn.release()

    def _looked_over(self, step: httpx2.Request) -> httpx2.Request:
        rules.check_address(str(step.url), self.server)
        if step.headers.get("Content-Type") == "application/json":
            about_us = {name: value for name, value in json_object(step.content).items() if name != "scope"}
            step = httpx2.Request("POST", step.url, json=about_us)  # registered for some scopes is kept to them
        step.extensions["oauth"] = True  # `session.Http` waits less for it
        return step

    async def _perform_authorization(self) -> httpx2.Request:
        if self.step_up:
            self.belongings.count_step_up(self.step_up, self.belongings.step_ups().get(self.step_up, 0) + 1)
        self.context.client_metadata.scope = self._wanted_scope()
        return await super()._perform_authorization()

    def _wanted_scope(self) -> str | None:
        """What the server asks for, not all that exists; `offline_access` where the authorization server knows it."""
        chosen = self.context.client_metadata.scope
        if not self.step_up:
            suggested = utils.extract_scope_from_www_auth(self.answer) or self.resource_document.get("scopes_supported")
            chosen = self.options.scope or (chosen if suggested else None)
        wanted = [scope for scope in (chosen or "").split() if scope != "offline_access"]
        known = self.context.oauth_metadata.scopes_supported or []
        if wanted and "offline_access" in known and "refresh_token" in self.context.client_metadata.grant_types:
            wanted.append("offline_access")
        return " ".join(wanted) or None

    async def _judged(self, step: httpx2.Request, reply: httpx2.Response) -> httpx2.Response:
        """`reply`, or what the SDK shall read in its place. Raises `Stop`, or `Again`."""
        await reply.aread()
        if reply.status_code == 429 or reply.status_code >= 500:
            raise Stop(f"{step.url.host} answered {reply.status_code} to {step.url.path}. Try again later.")
        if step.method == "GET":
            issuer = self.context.auth_server_url
            urls = utils.build_oauth_authorization_server_metadata_discovery_urls(issuer, self.server)
            if str(step.url) in urls:
                return await self._server_metadata(step, reply, last=str(step.url) == urls[-1])
            self._resource_metadata(step, reply)
        elif step.headers["Content-Type"] != "application/json":
            self._token(step, reply)
        elif reply.status_code in (200, 201):
            check_form(OAuthClientInformationFull, reply, "The authorization server registers us")
        else:
            raise Stop(f"The authorization server does not register us: {why_not(step, reply)!r}.")  # RFC 7591 §3.2.2
        return reply

    def _resource_metadata(self, step: httpx2.Request, reply: httpx2.Response) -> None:
        self.resource_document = {}
        self.context.auth_server_url = self.context.protected_resource_metadata = None
        if reply.status_code == 200:
            check_form(ProtectedResourceMetadata, reply, f"{step.url} describes the MCP server")
            document = json_object(reply.content)
            for rule in rules.RESOURCE_METADATA_RULES:
                rule(document, str(step.url), self.server)
            self.resource_document = document
        elif utils.extract_resource_metadata_from_www_auth(self.answer):
            raise Stop(f"The MCP server says that {step.url} describes it. It answers {reply.status_code}.")

    def _select_authorization_server(self, advertised: list[str]) -> str:
        named = self.resource_document["authorization_servers"]
        self.chosen = self._chosen_issuer(named)
        return advertised[named.index(self.chosen)]

    def _chosen_issuer(self, named: list[str]) -> str:
        """The one that our credentials belong to, else the one we know, else the first."""
        if self.configured_issuer and self.configured_issuer not in named:
            others = readable(", ".join(named))
            raise Stop(f"{self.server} sends us to {others}. The credentials belong to {self.configured_issuer}.")
        return next((one for one in (self.configured_issuer, self.belongings.issuer) if one in named), named[0])

    async def _server_metadata(self, step: httpx2.Request, reply: httpx2.Response, last: bool) -> httpx2.Response:
        origin, old = rules.origin_of(self.server), not self.resource_document
        if old:
            self.say(f"{origin} publishes no protected resource metadata: an old server. We ask itself (2025-03-26).")
        if reply.status_code != 200:
            if not last:
                return reply
            if not old:
                raise Stop(f"{self.chosen} publishes no metadata.")
            self.say(f"{origin} publishes no metadata at all. We use /authorize, /token and /register (2025-03-26).")
            reply = httpx2.Response(200, json=default_metadata(origin), request=step)
        document = json_object(reply.content)
        if old:  # a root issuer is written with or without its slash
            self.chosen = self._chosen_issuer([f"{origin}/" if document.get("issuer") == f"{origin}/" else origin])
        for rule in rules.SERVER_METADATA_RULES:
            if not (self.options.is_machine and rule in rules.MACHINES_DO_WITHOUT):
                rule(document, self.chosen, self.server)
        check_form(OAuthMetadata, reply, f"{self.chosen} describes itself")
        await self._meet(document)
        return reply

    async def _meet(self, document: dict) -> None:
        """This is the authorization server: who are we to it?"""
        issuer, token_endpoint = document["issuer"], document["token_endpoint"]
        if document != self.document and rules.origin_of(token_endpoint) != rules.origin_of(issuer):
            self.say(f"The tokens come from {token_endpoint}, as {issuer} says.")  # RFC 9700 §4.4
        self.document = document
        if self.belongings.issuer != issuer:
            self.belongings.issuer = issuer
            self.context.clear_tokens()
        self.belongings.revocation_endpoint = document.get("revocation_endpoint")

    def _token(self, step: httpx2.Request, reply: httpx2.Response) -> None:
        document = json_object(reply.content)
        if reply.status_code == 200:
            for rule in rules.TOKEN_RULES:
                rule(document)
            check_form(OAuthToken, reply, "The authorization server gives a token")
        elif document.get("error") == "invalid_client" and self._may_register_again():
            self.say("The authorization server does not know us any more. We register again, once.")
            self.registered_again = True
            self.belongings.forget_client()
            raise Again
        elif self.refreshing:
            self.say("The login cannot be renewed any more.")
            self.belongings.forget_tokens()
            raise Again
        else:
            raise Stop(f"The authorization server gives no token: {why_not(step, reply)!r}.")  # OAuth 2.1 §3.2.4

    def _may_register_again(self) -> bool:
        ours = self.context.client_info.client_id != self.context.client_metadata_url and not self.belongings.configured
        return ours and bool(self.document.get("registration_endpoint")) and not self.registered_again
