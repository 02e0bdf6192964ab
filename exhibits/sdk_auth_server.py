"""What the authorization server of the MCP SDK for Python says."""

import httpx2
from mcp.server.auth.routes import create_auth_routes
from pydantic import AnyHttpUrl

from attacks.world import CALLBACK, CHALLENGE
from exhibits.core import group
from exhibits.logs import line_of
from exhibits.server_stage import (
    CLIENT,
    Provider,
    sdk_auth_server,
    shown,
)

exhibit = group("The MCP SDK for Python, as an authorization server")
ASK = {"response_type": "code", "client_id": "a client", "redirect_uri": CALLBACK, "scope": "read"}
ASK |= {"code_challenge": CHALLENGE, "code_challenge_method": "S256", "state": "the state"}


@exhibit(
    "client-id-not-found",
    "Client ID '…' not found",
    seen="In the browser, as JSON with `invalid_request`, instead of a page for signing in.",
    cause="The client still has the `client_id` of a registration that the server no longer knows, most often "
    "because it kept them in memory and was restarted. No answer goes back to the client, so it does not notice.",
    cure="Delete what the client has stored for this server (in editors: sign out, or clear the stored "
    "authentication), so that it registers again; let the server keep registrations on disk.",
    step="06",
)
def client_id_not_found() -> str:
    with sdk_auth_server() as client:
        return shown(client.get("/authorize", params=ASK | {"client_id": "of yesterday"}))


@exhibit(
    "redirect-uri-not-registered",
    "Redirect URI '…' not registered for client",
    seen="In the browser, as JSON with `invalid_request`.",
    cause="The `redirect_uri` of the request is not, as text, one that the client registered. The SDK compares "
    "the port too, so a program that listens on another port than last time is refused, although RFC 8252 §7.3 "
    "wants any port accepted on a loopback address.",
    cure="Register anew with the address that is used now, or keep the port. Compare slash, host (`localhost` is "
    "not `127.0.0.1`) and path.",
    step="04",
)
def redirect_uri_not_registered() -> str:
    with sdk_auth_server() as client:
        return shown(client.get("/authorize", params=ASK | {"redirect_uri": CALLBACK.replace("4567", "4568")}))


@exhibit(
    "scope-not-registered",
    "Client was not registered with scope …",
    seen="In the redirect to the client, as `error_description` of `invalid_scope`.",
    cause="The client asks for a scope that was not in its registration.",
    cure="Register the client with all scopes that it will ever ask for, or register it anew.",
    step="06",
)
def scope_not_registered() -> str:
    with sdk_auth_server() as client:
        answer = client.get("/authorize", params=ASK | {"scope": "read write"})
    return str(httpx2.QueryParams(httpx2.URL(answer.headers["location"]).query).get("error_description"))


def exchange(**changes: str) -> str:
    form = {"grant_type": "authorization_code", "client_id": CLIENT["client_id"], "code": "the code"}
    form |= {"redirect_uri": CALLBACK, "code_verifier": "a verifier that does not fit" * 2}
    with sdk_auth_server() as client:
        return shown(client.post("/token", data=form | changes))


@exhibit(
    "code-does-not-exist",
    "authorization code does not exist",
    seen="In the answer of the token endpoint, as `error_description` of `invalid_grant`.",
    cause="The code was redeemed before, or belongs to another client, or the server was restarted since. "
    "Something that fetches links ahead, or a second call of the callback, may have used it up.",
    cure="Redeem a code once, at once, and begin a new flow.",
    step="04",
)
def code_does_not_exist() -> str:
    return exchange(code="used before")


@exhibit(
    "incorrect-code-verifier",
    "incorrect code_verifier",
    seen="In the answer of the token endpoint, as `error_description` of `invalid_grant`.",
    cause="The SHA-256 of `code_verifier`, in base64url without padding, is not the `code_challenge` of the "
    "authorization request (RFC 7636 §4.6): it is the verifier of another flow, or was encoded in another way.",
    cure="Keep verifier, `state` and issuer together, one record per flow. Test your encoding with RFC 7636, "
    "appendix B.",
    step="04",
)
def incorrect_code_verifier() -> str:
    return exchange()


@exhibit(
    "redirect-uri-did-not-match",
    "redirect_uri did not match the one used when creating auth code",
    seen="In the answer of the token endpoint, as `error_description` of `invalid_request`.",
    cause="The token request repeats another `redirect_uri` than the authorization request had, or none.",
    cure="Send the same string in both requests.",
    step="04",
)
def redirect_uri_did_not_match() -> str:
    return exchange(redirect_uri=CALLBACK + "/")


@exhibit(
    "issuer-must-be-https",
    "ValueError: Issuer URL must be HTTPS",
    seen="In a traceback, when the SDK's authorization server starts.",
    cause="The issuer is plain http on a host that is not this computer. Codes and tokens would travel openly.",
    cure="Put TLS before it and name the https address as the issuer. For a demo, `http://localhost` is allowed.",
    step="07",
)
def issuer_must_be_https() -> str:
    try:
        create_auth_routes(Provider(), AnyHttpUrl("http://auth.example"))
    except ValueError as error:
        return line_of(error)
    return "It was accepted."
