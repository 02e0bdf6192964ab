"""Step 06 · every no says what to do next.

The client: it knows the address of one MCP server and finds out everything else by asking.
"""

import base64
import hashlib
import hmac
import secrets
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit

import anyio
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from shared.addresses import RESOURCE
from shared.browser import the_visitor_presses, waiting_for_redirect
from shared.console import Stop, learned, note, run, say, sentence_for, show, wait, watch
from shared.running import restart, stop

from .discovery import (
    HEADERS,
    LIST_TOOLS,
    META,
    bearer_challenge,
    find_resource,
    find_server,
    json_object,
)

# ── what we remember ──────────────────────────────────────────────────────────

ABOUT_US = {
    "client_name": "Workshop client",
    "application_type": "native",
    "redirect_uris": ["http://127.0.0.1/callback"],  # the port is chosen at run time: RFC 8252 §7.3
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "none",
}
registrations: dict[str, dict] = {}  # by issuer: a client_id means nothing to any other server
STEP_UPS = 2  # for one operation
TRIES = 4  # for one call


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


@dataclass
class Session:
    """What we hold for one MCP server. All of it may be taken from us at any time."""

    server: dict
    client: dict
    scopes: set[str]  # all that we have ever asked for
    tokens: dict
    step_ups: Counter = field(default_factory=Counter)  # by operation


def new_tokens(http: httpx2.Client, session: Session) -> None:
    scope = " ".join(sorted(session.scopes))
    pending, code = authorize(session.server, session.client, RESOURCE, scope)
    session.tokens = {}  # those of an older consent
    remember(session, redeem(http, session.server, session.client, pending, code))
    if set(session.tokens.get("scope", scope).split()) != session.scopes:
        note(f"We asked for {scope}, and were given {session.tokens['scope']}. OAuth 2.1 §3.2.3")


def refresh(http: httpx2.Client, session: Session) -> None:
    say("Refresh", "This token, which the MCP server has never seen, buys a new one. OAuth 2.1 §4.3.1")
    answer = http.post(
        session.server["token_endpoint"],
        data={
            "grant_type": "refresh_token",
            "client_id": session.client["client_id"],
            "refresh_token": session.tokens.get("refresh_token", ""),
            "resource": RESOURCE,
        },
    )
    show(answer)
    error = json_object(answer).get("error")
    if error == "invalid_client":
        note("The authorization server does not know us any more. We register again, once. RFC 7591 §3.1")
        registrations.pop(session.server["issuer"], None)
        session.client = register(http, session.server)
    if error in ("invalid_client", "invalid_grant"):
        new_tokens(http, session)
    else:
        remember(session, tokens_in(answer))


def remember(session: Session, tokens: dict) -> None:
    session.tokens |= tokens  # a new refresh token takes the place of the old one: OAuth 2.1 §4.3.2


def step_up(http: httpx2.Client, session: Session, scope: str, operation: str) -> None:
    session.step_ups[operation] += 1
    if session.step_ups[operation] > STEP_UPS:
        raise Stop(f"{operation} needs more than the user allows. We asked {STEP_UPS} times, and stop asking.")
    session.scopes |= set(scope.split())
    note("The user must decide: what we had, and what this operation needs. MCP specification, step-up")
    new_tokens(http, session)


def call(http: httpx2.Client, session: Session, tool: str, **arguments: object) -> httpx2.Response:
    """One tool call. While the no says what to do, and we have not done it in vain, do it and try again."""
    params = {"name": tool, "arguments": arguments, "_meta": META}
    message = LIST_TOOLS | {"method": "tools/call", "params": params}
    for attempt in range(TRIES):
        say(f"Call the tool {tool}", "With the token we have; the server says if it is not enough. OAuth 2.1 §5.3")
        names = {"Mcp-Method": "tools/call", "Mcp-Name": tool}
        access_token = session.tokens["access_token"]
        headers = HEADERS | names | {"Authorization": f"Bearer {access_token}"}
        answer = http.post(RESOURCE, json=message, headers=headers)
        show(answer)
        challenge = bearer_challenge(answer)  # what the no asks us to do: OAuth 2.1 §5.3.2
        if challenge.get("error") == "invalid_token":
            refresh(http, session)
        elif challenge.get("error") == "insufficient_scope":
            step_up(http, session, challenge.get("scope", ""), tool)
        else:
            return answer
    raise Stop(f"{tool} was refused {TRIES} times. We do not go on.")


# ── what must not work ────────────────────────────────────────────────────────


def must_be_refused(http: httpx2.Client, session: Session, tool: str, **arguments: object) -> None:
    try:
        answer = call(http, session, tool, **arguments)
    except Stop as why:
        return note(f"So it stays closed, and the program goes on. {why}")
    raise Stop(f"Without consent {tool} should be refused, and the answer was {answer.status_code}.")


# ── the walk ──────────────────────────────────────────────────────────────────


def main() -> None:
    with httpx2.Client(timeout=10) as http:
        metadata, challenge = find_resource(http, RESOURCE)
        issuer = metadata["authorization_servers"][0]
        server = find_server(http, issuer)
        client = register(http, server)
        scope = challenge.get("scope") or " ".join(metadata.get("scopes_supported") or [])
        session = Session(server, client, set(scope.split()), {})
        new_tokens(http, session)
        anyio.run(use_tools, RESOURCE, session.tokens["access_token"])

        wait("until the token has expired", session.tokens.get("expires_in", 0))
        call(http, session, "score_headline", headline="Fraud fears, shares slump")
        with the_visitor_presses("deny"):
            must_be_refused(http, session, "rebalance_customer", id="c-1")
        call(http, session, "rebalance_customer", id="c-1")
        if restart("auth_server"):
            note("The authorization server was restarted and has forgotten everybody. Our token will end soon.")
            refresh(http, session)
            call(http, session, "rebalance_customer", id="c-1")
        if stop("auth_server"):
            note("The authorization server is down.")
            try:
                refresh(http, session)
            except httpx2.TransportError as error:
                note(f"What a user should read then: {sentence_for(error)}")
    learned(
        "a no says what to do next: get a token, get a fresh one, or ask the user for more",
        "what was allowed is kept, what is asked is the union, and nobody is asked for ever",
        "everything can be lost and made again: tokens, consent, even our own name",
    )


if __name__ == "__main__":
    run(main)
