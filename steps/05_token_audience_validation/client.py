"""Step 05 · a token opens the door it was made for, and no other.

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
from cryptography.hazmat.primitives.asymmetric import rsa
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from shared.addresses import NEIGHBOUR, RESOURCE
from shared.browser import waiting_for_redirect
from shared.console import Stop, learned, note, run, say, show, show_token, watch

from .discovery import (
    HEADERS,
    LIST_TOOLS,
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


def refused_token(http: httpx2.Client, what: str, why: str, access_token: str) -> None:
    say(what, why)
    headers = HEADERS | {"Authorization": f"Bearer {access_token}", "Mcp-Method": "tools/list"}
    answer = http.post(RESOURCE, json=LIST_TOOLS, headers=headers)
    show(answer)
    if answer.status_code != 401:
        raise Stop(f"This token must not open the door, and it did: {answer.status_code}.")


def forgeries(access_token: str) -> dict[str, str]:
    """What somebody can make of a token they have seen. A client never needs to look inside: RFC 9068 §6."""
    header, claims, signature = access_token.split(".")
    mallory = jwt.decode(access_token, options={"verify_signature": False}) | {"sub": "mallory"}
    own_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    same_header = {"typ": "at+jwt", "kid": jwt.get_unverified_header(access_token)["kid"]}
    forged = jwt.encode(mallory, own_key, "RS256", same_header)
    return {
        "Forge a token, signed with a key of our own": forged,
        "Tamper with a real one: new claims, old signature": f"{header}.{forged.split('.')[1]}.{signature}",
        "Say that no signature is needed: alg none": jwt.encode(mallory, None, "none", same_header),
    }


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

        note("Once more, for the neighbour. (It trusts the same server; a real client would ask it first.)")
        pending, code = authorize(server, client, NEIGHBOUR, scope)
        for_the_neighbour = redeem(http, server, client, pending, code)["access_token"]
        note(f"The neighbour, {NEIGHBOUR}, lets it in: {anyio.run(whoami, NEIGHBOUR, for_the_neighbour)}")
        why = "It is genuine, and made for another door. RFC 9068 §4"
        refused_token(http, "Carry the neighbour's token to our door", why, for_the_neighbour)
        for what, token in forgeries(tokens["access_token"]).items():
            refused_token(http, what, "The issuer's key has not signed this. RFC 8725 §3.1", token)
    learned(
        "a token says for whose door it was made, and each door reads that",
        "what is not signed by the issuer's key is not believed, whatever it says",
    )


if __name__ == "__main__":
    run(main)
