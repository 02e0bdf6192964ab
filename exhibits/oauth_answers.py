"""What authorization servers answer: the words of the RFCs, from the server of the steps."""

import re

from attacks.world import BASIC, VERIFIER
from exhibits.core import group
from exhibits.server_stage import shown
from exhibits.stage import servers
from shared.addresses import RESOURCE

exhibit = group("OAuth: what an authorization server answers")
TOKEN = "In the answer of the token endpoint, with status 400."
REDIRECT = "In the address to which the browser is sent back, and from there in the client."


@exhibit(
    "invalid-grant",
    '"error":"invalid_grant"',
    seen=TOKEN,
    cause="The code or the refresh token is not good any more, or not for this client: used before, too old, "
    "revoked, made for another `client_id`, `redirect_uri` or `code_verifier` (OAuth 2.1 §3.2.4).",
    cure="Begin a new flow; the same request will not work a second time. If a refresh token was used twice, the "
    "server may have ended all tokens that came of the same consent.",
    step="04",
)
def invalid_grant() -> str:
    with servers() as world:
        client_id = world.register()["client_id"]
        code = world.code(client_id)
        world.redeem(client_id, code)
        return shown(world.redeem(client_id, code))


@exhibit(
    "invalid-client",
    '"error":"invalid_client"',
    seen="In the answer of the token endpoint, with status 401.",
    cause="The server does not know the `client_id` (it was restarted, or the id is of another server), or the "
    "client did not prove itself in the registered way: a wrong secret, a secret in the body where Basic was "
    "registered, an assertion for another audience.",
    cure="Compare `token_endpoint_auth_method` of the registration with what is sent. If the server forgot the "
    "client, register again.",
    step="08",
)
def invalid_client() -> str:
    with servers() as world:
        return shown(world.redeem("of yesterday", "some code"))


@exhibit(
    "unauthorized-client",
    '"error":"unauthorized_client"',
    seen=TOKEN,
    cause="The server knows the client, and it was not registered for this grant type.",
    cure="Register it with `grant_types` that name what it uses, such as `refresh_token`.",
    step="06",
)
def unauthorized_client() -> str:
    with servers() as world:
        client = world.register(grant_types=["authorization_code"])
        return shown(world.refresh(client["client_id"], "some refresh token"))


@exhibit(
    "unsupported-grant-type",
    '"error":"unsupported_grant_type"',
    seen=TOKEN,
    cause="The server does not know this `grant_type` at all: `password` and `implicit` are gone from OAuth 2.1; "
    "or the word is misspelt, or the form was sent as JSON and nothing was found.",
    cure="Choose one of `grant_types_supported` in the metadata, and send a form.",
    step="04",
)
def unsupported_grant_type() -> str:
    with servers() as world:
        form = {"grant_type": "password", "client_id": world.register()["client_id"], "username": "alice"}
        return shown(world.auth.post("/token", data=form))


@exhibit(
    "invalid-target",
    "error=invalid_target",
    seen=REDIRECT + " Also in the answer of the token endpoint.",
    cause="The authorization server makes no tokens for the `resource` that the client names (RFC 8707 §2), "
    "because it does not know it, or knows it in another spelling.",
    cure="Compare the string with `resource` in the MCP server's metadata, and tell the authorization server "
    "about that one.",
    step="05",
)
def invalid_target() -> str:
    with servers() as world:
        ask = world.ask(world.register()["client_id"], resource=RESOURCE.removesuffix("mcp"))
        return shown(world.auth.get("/authorize", params=ask))


@exhibit(
    "invalid-scope",
    "error=invalid_scope",
    seen=REDIRECT,
    cause="The client asks for a scope that the server does not know, or that the client was not registered with.",
    cure="Ask for what the challenge or `scopes_supported` names, and register the client with all of it.",
    step="04",
)
def invalid_scope() -> str:
    with servers() as world:
        client = world.register(scope="mcp:tools:sentiment")
        return shown(world.auth.get("/authorize", params=world.ask(client["client_id"], scope=BASIC)))


@exhibit(
    "unsupported-response-type",
    "error=unsupported_response_type",
    seen=REDIRECT,
    cause="`response_type` is not `code`. `token`, the implicit grant, is gone from OAuth 2.1: tokens in "
    "addresses leak.",
    cure="Use `response_type=code` with PKCE.",
    step="04",
)
def unsupported_response_type() -> str:
    with servers() as world:
        ask = world.ask(world.register()["client_id"], response_type="token")
        return shown(world.auth.get("/authorize", params=ask))


@exhibit(
    "code-challenge-missing",
    "error_description=code_challenge+must+be+43+characters%2C+and+code_challenge_method+S256",
    seen=REDIRECT,
    cause="The request has no PKCE, or the method `plain`. OAuth 2.1 §4.1.1 wants a challenge, MCP from every client, "
    "and without `code_challenge_method` it would mean `plain`.",
    cure="Send `code_challenge`, the SHA-256 of the verifier in base64url without padding, and "
    "`code_challenge_method=S256`.",
    step="04",
)
def code_challenge_missing() -> str:
    with servers() as world:
        ask = world.ask(world.register()["client_id"], code_challenge=VERIFIER, code_challenge_method="plain")
        return shown(world.auth.get("/authorize", params=ask))


@exhibit(
    "redirect-uri-mismatch",
    "The redirect_uri is not one that the program registered.",
    seen="On a page of the authorization server (here: of the steps). Other servers say `redirect_uri_mismatch`.",
    cause="The `redirect_uri` is compared as text with those of the registration; only the port of a loopback "
    "address may differ (OAuth 2.1 §2.3.1, RFC 8252 §7.3). `localhost`, `127.0.0.1` and a slash at the end make a "
    "difference. The browser is not sent back: that address may be an attacker's.",
    cure="Register exactly the address that is used.",
    step="04",
)
def redirect_uri_mismatch() -> str:
    with servers() as world:
        ask = world.ask(world.register()["client_id"], redirect_uri="http://127.0.0.1:4567/callback/")
        return text_of(world.auth.get("/authorize", params=ask).text)


@exhibit(
    "unknown-client-page",
    "No program is registered under this client_id.",
    seen="On a page of the authorization server of the steps.",
    cause="The server was restarted and has forgotten its clients, or the `client_id` belongs to another server.",
    cure="Begin again in the program, so that it registers. The client of step 06 notices by itself.",
    step="06",
)
def unknown_client_page() -> str:
    with servers() as world:
        return text_of(world.auth.get("/authorize", params=world.ask("of yesterday")).text)


@exhibit(
    "access-denied",
    "error=access_denied",
    seen=REDIRECT,
    cause="The person pressed Deny, or unticked every scope. Nothing is broken.",
    cure="Say so, and let the person begin again.",
    step="06",
)
def access_denied() -> str:
    with servers() as world:
        return shown(world.consent(world.ask(world.register()["client_id"]), decision="deny"))


@exhibit(
    "invalid-redirect-uri",
    '"error":"invalid_redirect_uri"',
    seen="In the answer of the registration endpoint, with status 400.",
    cause="One of `redirect_uris` is plain http on a host that is not this computer, or has a fragment, a user "
    "name or a wildcard.",
    cure="https, or http on a loopback address: `http://127.0.0.1/callback`.",
    step="03",
)
def invalid_redirect_uri() -> str:
    with servers() as world:
        return shown(world.auth.post("/register", json={"redirect_uris": ["http://192.168.0.7/callback"]}))


@exhibit(
    "invalid-client-metadata",
    '"error":"invalid_client_metadata"',
    seen="In the answer of the registration endpoint, with status 400.",
    cause="A member of the registration has a value that the server does not take: an unknown grant type, a "
    "`token_endpoint_auth_method` that it does not have, a combination that makes no sense.",
    cure="Read `error_description`, and compare with the server's metadata.",
    step="03",
)
def invalid_client_metadata() -> str:
    with servers() as world:
        metadata = {"redirect_uris": ["http://127.0.0.1/callback"], "application_type": "desktop"}
        return shown(world.auth.post("/register", json=metadata))


@exhibit(
    "too-many-requests",
    "429 Too Many Requests",
    seen="In the answer of the token or registration endpoint, with `Retry-After`.",
    cause="Too many attempts from one address or for one client in a short time. It makes guessing hopeless.",
    cure="Wait as many seconds as `Retry-After` says. Do not try in a loop.",
    step="07",
)
def too_many_requests() -> str:
    with servers() as world:
        client_id = world.register()["client_id"]
        answers = [world.redeem(client_id, f"guess {n}") for n in range(60)]
        return shown(answers[-1])


def text_of(page: str) -> str:
    """A page without its markup."""
    return re.sub(r"\s*\n\s*", "\n", re.sub(r"<[^>]*>", "", page.partition("<main")[2])).strip()
