"""The provider for people: who we are to an authorization server, and how a person is asked."""

import shlex
from collections.abc import Awaitable, Callable

import httpx2
from mcp.client.auth.utils import create_client_info_from_metadata_url
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata
from pydantic import AnyUrl

from shared.stop import Stop

from . import rules
from .belongings import Belongings
from .callback import Callback
from .options import Options
from .provider import Supervised
from .wire import readable

Asked = Callable[[str], Awaitable[tuple[str, str] | None]]  # issuer -> client_id and secret ("" if there is none)


class Person(Supervised):
    """Somebody sits there and decides. `ask(issuer)` asks them for credentials, where there are no others."""

    def __init__(self, options: Options, storage: Belongings, ask: Asked) -> None:
        about_us = OAuthClientMetadata(
            client_name="MCP command line client",
            redirect_uris=[AnyUrl("http://127.0.0.1/callback")],
            token_endpoint_auth_method="none",
        )
        page = {"redirect_handler": self._send_user, "callback_handler": self._wait_for_answer}
        super().__init__(options, about_us, storage=storage, client_metadata_url=options.client_metadata_url, **page)
        if storage.configured and not options.client_id:
            self.configured_issuer = storage.issuer
        self.ask = ask
        self.callback: Callback | None = None

    def open_callback(self, port: int) -> Callback:
        return Callback(self.say, not self.options.no_browser, self.options.callback_port or port)

    async def _meet(self, document: dict) -> None:
        await super()._meet(document)
        before, found = self.context.client_info, await self._who_we_are(document)
        if before and (not found or found.client_id != before.client_id):
            self.context.clear_tokens()  # they were given to somebody of another name
        self.context.client_info = found
        if not found:
            self._listen()  # the address of the page is part of the registration that follows

    async def _who_we_are(self, document: dict) -> OAuthClientInformationFull | None:
        """In the specified order: configured, our own document, registered dynamically, asked for.

        None if the SDK has to register us now.
        """
        options, about_us = self.options, self.context.client_metadata
        if options.client_id:
            return await self._given(options.client_id, options.client_secret)
        if options.client_metadata_url and document.get("client_id_metadata_document_supported") is True:
            found = create_client_info_from_metadata_url(options.client_metadata_url, about_us.redirect_uris)
            await self.belongings.set_client_info(found)
            return found
        if found := await self.belongings.get_client_info():
            return found
        if document.get("registration_endpoint"):
            return None
        if typed := await self.ask(document["issuer"]):
            return await self._given(*typed)
        why = f"{document['issuer']} registers nobody by itself"
        raise Stop(f"{why}. Register there, and give --client-id (and --client-secret with --issuer).")

    async def _given(self, client_id: str, secret: str | None) -> OAuthClientInformationFull:
        offered = self.document.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        with_secret = "client_secret_basic" if "client_secret_basic" in offered else "client_secret_post"
        found = OAuthClientInformationFull(
            client_id=client_id,
            client_secret=secret or None,
            token_endpoint_auth_method=with_secret if secret else "none",
            issuer=self._expected_issuer(),
        )
        await self.belongings.set_client_info(found, configured=True)
        self.configured_issuer = self.document["issuer"]
        return found

    async def _perform_authorization(self) -> httpx2.Request:
        """The token request: with the refresh token if that is enough, else with the code that the person brings."""
        tokens = self.context.current_tokens
        self.refreshing = bool(tokens and tokens.refresh_token and not self.step_up)
        if self.refreshing:
            return await self._refresh_token()
        self.turn.release()  # a person may take their time
        self._listen()
        return await super()._perform_authorization()

    async def _handle_token_response(self, response: httpx2.Response) -> None:
        if self.refreshing:
            await self._handle_refresh_response(response)
        else:
            await super()._handle_token_response(response)

    def _listen(self) -> None:
        """Be there for the answer: from here on, a person is needed."""
        if self.options.nobody_there:
            why, command = "Nobody has logged in", f"python -m client --server {self.server}"
            if self.step_up:
                why = f"{readable(self.step_up)} needs more than was granted"
                command += f" --scope {shlex.quote(readable(self.context.client_metadata.scope or ''))}"
            raise Stop(f"{why}, and nobody is here to ask. In a terminal, run `{command} login`.")
        if not self.callback:
            registered = self.context.client_info and self.context.client_info.redirect_uris
            port = next((uri.port for uri in registered or () if uri.host == "127.0.0.1" and uri.port != 80), 0)
            self.callback = self.open_callback(port)
            self.context.client_metadata.redirect_uris = [AnyUrl(self.callback.uri)]

    async def _send_user(self, url: str) -> None:
        endpoint = str(self.context.oauth_metadata.authorization_endpoint)
        if "?" in endpoint:  # the SDK does not expect a query there: OAuth 2.1 §3.1
            url = endpoint + "&" + url.removeprefix(endpoint + "?")
        await self.callback.send(url)

    async def _wait_for_answer(self) -> AuthorizationCodeResult:
        answer = await self.callback.wait()
        for rule in rules.ANSWER_RULES:
            rule(answer, self.document)
        issuer = str(self.context.oauth_metadata.issuer)  # compared above as it came; the SDK has its own spelling
        return AuthorizationCodeResult(code=answer["code"], state=answer["state"], iss=issuer)

    def _end_of_flow(self) -> None:
        super()._end_of_flow()
        if self.callback:
            self.callback.close()
            self.callback = None
