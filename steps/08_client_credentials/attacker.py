"""Step 07 · what a patient attacker tries next, and why it does not work.

The attacker: has seen what went over the wire, and can make a browser on this computer send requests.
"""

import base64
import hashlib
import secrets
from urllib.parse import urljoin

import httpx2

from shared.addresses import RESOURCE, UPSTREAM
from shared.browser import Form
from shared.console import Stop, note, say, show

# ── what we remember ──────────────────────────────────────────────────────────

MCP = "io.modelcontextprotocol"
VERSION = "2026-07-28"
META = {f"{MCP}/protocolVersion": VERSION, f"{MCP}/clientCapabilities": {}}

# ── requests ──────────────────────────────────────────────────────────────────


def refused(answer: httpx2.Response, status: int, who: str = "attacker") -> None:
    show(answer, who)
    if answer.status_code != status:
        raise Stop(f"The attacker should get {status} here, and got {answer.status_code}.")


def read_customer(http: httpx2.Client, tokens: dict, id: str, **headers: str) -> httpx2.Response:
    uri = f"customers://{id}"
    message = {"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": uri, "_meta": META}}
    headers |= {"MCP-Protocol-Version": VERSION, "Mcp-Method": "resources/read", "Mcp-Name": uri}
    headers |= {"Authorization": f"Bearer {tokens['access_token']}"}
    return http.post(RESOURCE, json=message, headers=headers)


def refresh(http: httpx2.Client, server: dict, client: dict, refresh_token: str) -> httpx2.Response:
    form = {"grant_type": "refresh_token", "client_id": client["client_id"], "refresh_token": refresh_token}
    form |= {"resource": RESOURCE}
    return http.post(server["token_endpoint"], data=form)


# ── what must not work ────────────────────────────────────────────────────────


def from_a_web_page(http: httpx2.Client, tokens: dict) -> None:
    say("Let a web page ask, in the user's browser", "It says where it comes from. MCP specification, transports")
    refused(read_customer(http, tokens, "c-1", Origin="https://evil.example"), 403)
    say("Point a name of our own at this computer", "The browser still sends that name. RFC 9110 §7.4")
    refused(read_customer(http, tokens, "c-1", Host="evil.example"), 421)


def through_the_deputy(http: httpx2.Client, tokens: dict) -> None:
    say("Take the user's token straight to the API behind", "It was made for another door. RFC 9068 §4")
    token = {"Authorization": f"Bearer {tokens['access_token']}"}
    refused(http.get(f"{UPSTREAM}/customers/c-2", headers=token), 401)
    say("Let the MCP server fetch what is bob's for alice", "Its own token could. It asks first whether she may.")
    refused(read_customer(http, tokens, "c-2"), 400)


def with_an_old_refresh_token(http: httpx2.Client, server: dict, client: dict, tokens: dict) -> None:
    say("The client refreshes", "As it should. The old refresh token is spent now. OAuth 2.1 §4.3.1")
    answer = refresh(http, server, client, tokens["refresh_token"])
    show(answer)
    say("Use the spent one", "Two have it, and one is a thief. Nobody can tell which. RFC 9700 §4.14.2")
    refused(refresh(http, server, client, tokens["refresh_token"]), 400)
    say("So the new one is worth nothing either", "The user can answer again, the thief cannot. RFC 9700 §4.14.2")
    refused(refresh(http, server, client, answer.json()["refresh_token"]), 400)


def with_a_used_code(
    http: httpx2.Client, server: dict, client: dict, tokens: dict, code: str, code_verifier: str
) -> None:
    say("Trade a used code again, with the right verifier", "So both have leaked. OAuth 2.1 §4.1.3")
    form = {"grant_type": "authorization_code", "client_id": client["client_id"], "code": code}
    refused(http.post(server["token_endpoint"], data=form | {"code_verifier": code_verifier}), 400)
    say("Refresh with what that code has bought", "No longer. The access token lives until it expires. RFC 7009 §3")
    refused(refresh(http, server, client, tokens["refresh_token"]), 400)


def with_a_page_of_their_own(server: dict, client: dict) -> None:
    note("The attacker opens a consent page, and lets the user's browser send its form.")
    digest = hashlib.sha256(secrets.token_bytes(32)).digest()
    query = {
        "response_type": "code",
        "client_id": client["client_id"],
        "redirect_uri": "http://127.0.0.1:1/callback",
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
        "resource": RESOURCE,
    }
    with httpx2.Client() as attackers_browser, httpx2.Client() as users_browser:
        page = attackers_browser.get(server["authorization_endpoint"], params=query)
        form = Form(page.text)
        say("Send the attacker's page from the user's browser", "It has not been shown there. RFC 6749 §10.12")
        scopes = [value for name, value in form.fields if name == "scope"]
        answer = dict(form.fields) | {"scope": scopes, "decision": "allow"}
        answer |= {"username": "alice", "password": "wonderland"}
        refused(users_browser.post(urljoin(str(page.url), form.action), data=answer), 400, "user's browser")
