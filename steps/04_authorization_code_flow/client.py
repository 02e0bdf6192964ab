"""Step 04 · a stolen code is worthless: only whoever asked for it can redeem it.

The client: it knows the address of one MCP server and finds out everything else by asking.
"""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

import anyio
import httpx2
import jwt
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from shared.addresses import RESOURCE
from shared.browser import waiting_for_redirect
from shared.console import Stop, learned, note, run, say, show, show_token, watch

from .discovery import (
    find_resource,
    find_server,
    json_object,
)

# ── what we remember ──────────────────────────────────────────────────────────

ABOUT_US = {
    "client_name": "Workshop client",
    "application_type": "native",
    "redirect_uris": ["http://127.0.0.1/callback"],  # the port is chosen at run time: RFC 8252 §7.3
    "grant_types": ["authorization_code"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "none",
}
registrations: dict[str, dict] = {}  # by issuer: a client_id means nothing to any other server


@dataclass(frozen=True)
class Pending:
    """An authorization request under way: what must be remembered until the user comes back."""

    issuer: str
    resource: str
    redirect_uri: str
    state: str
    code_verifier: str


# ── rules ─────────────────────────────────────────────────────────────────────


def from_the_same_issuer(answer: dict[str, str], pending: Pending, server: dict) -> None:
    promised = server.get("authorization_response_iss_parameter_supported") is True
    if ("iss" in answer or promised) and answer.get("iss") != pending.issuer:
        raise Stop("The answer does not come from the authorization server we asked.")  # RFC 9207 §2.4


def carries_a_code(answer: dict[str, str], pending: Pending, server: dict) -> None:
    if "code" not in answer:
        why = answer.get("error_description") or answer.get("error") or "it sent no code"
        raise Stop(f"The authorization server says no: {why!r}.")  # OAuth 2.1 §4.1.2.1


ANSWER_RULES = (
    from_the_same_issuer,
    carries_a_code,
)

# ── requests ──────────────────────────────────────────────────────────────────


def register(http: httpx2.Client, server: dict) -> dict:
    if server["issuer"] in registrations:
        return registrations[server["issuer"]]
    if not isinstance(server.get("registration_endpoint"), str):
        raise Stop(f"{server['issuer']} offers no dynamic registration, and has given us no client_id.")
    say("Register", "The server has never heard of us; now it gives us a name. RFC 7591 §3.1")
    answer = http.post(server["registration_endpoint"], json=ABOUT_US)
    show(answer)
    client = json_object(answer)
    if answer.status_code != 201 or not isinstance(client.get("client_id"), str):
        why = client.get("error_description") or client.get("error") or answer.status_code
        raise Stop(f"The authorization server does not register us: {why!r}.")  # RFC 7591 §3.2.2
    registrations[server["issuer"]] = client
    return client


def authorize(server: dict, client: dict, resource: str, scope: str) -> tuple[Pending, str]:
    with waiting_for_redirect() as callback:
        pending = Pending(
            issuer=server["issuer"],
            resource=resource,
            redirect_uri=callback.uri,
            state=secrets.token_urlsafe(32),
            code_verifier=secrets.token_urlsafe(32),
        )
        digest = hashlib.sha256(pending.code_verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": client["client_id"],
            "redirect_uri": pending.redirect_uri,
            "scope": scope,
            "state": pending.state,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            "resource": resource,
        }
        say("Send the user to the authorization server", "Our secret stays; its hash goes. RFC 7636 §4.3")
        known = urlencode({name: value for name, value in query.items() if value})
        endpoint = server["authorization_endpoint"]
        callback.send_user_to(endpoint + ("&" if "?" in endpoint else "?") + known)  # OAuth 2.1 §3.1
        answer = answer_in(callback.wait())
        while not hmac.compare_digest(answer.get("state", "").encode(), pending.state.encode()):
            note("Somebody brought a state that is not ours. We drop it and keep waiting. RFC 9700 §4.7")
            answer = answer_in(callback.wait())
    for rule in ANSWER_RULES:
        rule(answer, pending, server)
    return pending, answer["code"]


def answer_in(visit: str) -> dict[str, str]:
    """Every name once: an answer that says a thing twice says nothing. OAuth 2.1 §3.1"""
    pairs = parse_qsl(urlsplit(visit).query)
    return dict(pairs) if len(dict(pairs)) == len(pairs) else {}


def redeem(http: httpx2.Client, server: dict, client: dict, pending: Pending, code: str) -> dict:
    say("Trade the code for a token", "The secret proves that we are the ones who asked. RFC 7636 §4.5")
    answer = http.post(
        server["token_endpoint"],
        data={
            "grant_type": "authorization_code",
            "client_id": client["client_id"],
            "code": code,
            "code_verifier": pending.code_verifier,
            "redirect_uri": pending.redirect_uri,
            "resource": pending.resource,
        },
    )
    show(answer)
    return tokens_in(answer)


def tokens_in(answer: httpx2.Response) -> dict:
    tokens = json_object(answer)
    usable = isinstance(tokens.get("access_token"), str) and str(tokens.get("token_type")).lower() == "bearer"
    if answer.status_code != 200 or not usable:
        why = tokens.get("error_description") or tokens.get("error") or answer.status_code
        raise Stop(f"The authorization server gives no token: {why!r}.")  # OAuth 2.1 §3.2.4
    return tokens


async def use_tools(resource: str, access_token: str) -> None:
    headers = {"Authorization": f"Bearer {access_token}"}  # OAuth 2.1 §5.1.1
    async with httpx2.AsyncClient(headers=headers, event_hooks={"response": [watch]}, timeout=10) as http:
        say("Open the door with the token", "Every request carries it, in this header. OAuth 2.1 §5.1.1")
        async with Client(streamable_http_client(resource, http_client=http)) as mcp:
            await mcp.list_tools()
            say("Call a tool", "The MCP server knows now on whose behalf. RFC 9068 §2.2")
            await mcp.call_tool("score_headline", {"headline": "ACME profit beats forecasts, shares soar"})


async def whoami(resource: str, access_token: str) -> str:
    headers = {"Authorization": f"Bearer {access_token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=10) as http:
        async with Client(streamable_http_client(resource, http_client=http)) as mcp:
            return (await mcp.call_tool("whoami")).content[0].text


# ── what must not work ────────────────────────────────────────────────────────


def steal(http: httpx2.Client, server: dict, client: dict, code: str) -> None:
    say("A thief has seen the code and is quicker", "Without our secret it is worthless. RFC 7636 §4.6")
    stolen = {"grant_type": "authorization_code", "client_id": client["client_id"], "code": code}
    answer = http.post(server["token_endpoint"], data=stolen | {"code_verifier": secrets.token_urlsafe(32)})
    show(answer)
    if answer.status_code != 400:
        raise Stop(f"A stolen code must be worthless, and it was not: {answer.status_code}.")


# ── the walk ──────────────────────────────────────────────────────────────────


def main() -> None:
    with httpx2.Client(timeout=10) as http:
        metadata, challenge = find_resource(http, RESOURCE)
        issuer = metadata["authorization_servers"][0]
        server = find_server(http, issuer)
        client = register(http, server)
        scope = challenge.get("scope") or " ".join(metadata.get("scopes_supported") or [])
        pending, code = authorize(server, client, RESOURCE, scope)
        tokens = redeem(http, server, client, pending, code)
        show_token(tokens["access_token"])  # for the reader: a client does not look inside, RFC 9068 §6
        anyio.run(use_tools, RESOURCE, tokens["access_token"])

        note("Once more, and this time a thief is watching:")
        pending, code = authorize(server, client, RESOURCE, scope)
        steal(http, server, client, code)

    say("Make a token up, with no key at all", "Left open on purpose: nobody verifies tokens yet.")
    made_up = jwt.encode({"sub": "mallory", "client_id": "one that nobody registered"}, None, "none")
    note(f"The MCP server believes it. It says we are {anyio.run(whoami, RESOURCE, made_up)}.")
    learned(
        "the token says what a person allowed: who, to which client, for which server, for how long",
        "whoever sees the code cannot use it: of our secret, only the hash went through the browser",
        "whoever makes a token up still gets in: the MCP server has to verify what it reads",
    )


if __name__ == "__main__":
    run(main)
