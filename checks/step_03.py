"""What step 03 promises: a client nobody knew a second ago gets a name, on the server's terms."""

import json

import httpx2

from attacks.core import json_object
from attacks.hostile import honest_net
from attacks.world import NATIVE, World
from checks.core import check, expect, expect_denied, expect_status, expect_stopped
from checks.step_02 import document
from checks.walking import expect_walk, walk
from checks.words import asked, came
from shared.addresses import ISSUER

BAD_METADATA, BAD_URI = (400, "invalid_client_metadata"), (400, "invalid_redirect_uri")
MANY = {"client_name": "A test", "application_type": "web", "redirect_uris": ["https://app.example/cb"]}


def register(world: World, **changes: object) -> httpx2.Response:
    """A registration that may fail; a change to None leaves the member out."""
    metadata = {name: value for name, value in (NATIVE | changes).items() if value is not None}
    return world.auth.post("/register", json=metadata)


# ── the authorization server ──────────────────────────────────────────────────────────────────────


@check(
    "03",
    "A client registers, and is told its name and everything that was registered.",
    section="RFC 7591 §3.2.1",
    rule="register",
    file="clients.py",
    hints=(
        "A client sends JSON to /register. Look at the status of the answer, and at what is in it.",
        "Answer 201 with a new `client_id` and all that is registered under it, also what the client did not say; "
        "and with `Cache-Control: no-store`.",
    ),
)
def gives_a_name(world: World) -> None:
    answers = [register(world), register(world)]
    for answer in answers:
        expect_status(answer, 201)
        expect("no-store" in answer.headers.get("cache-control", ""), "The answer may be stored: no-store is missing.")
        missing = [name for name in (*NATIVE, "client_id", "grant_types", "scope") if name not in json_object(answer)]
        expect(not missing, f"The answer does not say what became of {', '.join(missing)}.")
    names = {json_object(answer)["client_id"] for answer in answers}
    expect(len(names) == 2, "Two clients were given the same client_id.")


@check(
    "03",
    "The metadata says where to register, and which scopes there are.",
    section="RFC 8414 §2",
    rule="server_metadata",
    file="auth_server.py",
    hints=(
        "How does a client learn that it can register here?",
        "Name `registration_endpoint` and `scopes_supported` in the document of step 02.",
    ),
)
def announces_it(world: World) -> None:
    found = document(world)
    endpoint, scopes = found.get("registration_endpoint"), found.get("scopes_supported")
    expect(str(endpoint).startswith(world.issuer), f"registration_endpoint was {endpoint!r}.")
    expect(isinstance(scopes, list) and scopes, f"scopes_supported was {scopes!r}.")


@check(
    "03",
    "What is no well-formed metadata is refused with an error, not with a failure.",
    section="RFC 7591 §3.2.2",
    rule="well_formed",
    file="clients.py",
    hints=(
        "Strangers send anything: a number where a list should be, text that moves the cursor, no JSON at all.",
        "The first rule says what kind of thing each member must be, so that no later rule trips over it. The error "
        "is `invalid_redirect_uri` for `redirect_uris`, and `invalid_client_metadata` for all others.",
    ),
)
def refuses_bad_shapes(world: World) -> None:
    for shape in (5, {"a": "b"}, ["https://app.example/cb", 5]):
        expect_denied(register(world, redirect_uris=shape), BAD_URI)
    for changes in ({"client_name": 5}, {"client_name": "\x1b[2J"}, {"scope": ["a"]}):
        expect_denied(register(world, **changes), BAD_METADATA)
    no_object = world.auth.post("/register", content=json.dumps([1]), headers={"Content-Type": "application/json"})
    expect_denied(no_object, BAD_METADATA)


@check(
    "03",
    "An answer may only ever go to https, or to this computer.",
    section="RFC 9700 §2.6, §4.1.3",
    rule="https_or_loopback",
    file="clients.py",
    hints=(
        "Which redirect_uris could be read on the way, or could lead to somebody else?",
        "Match the whole text: https with a plain host, or http with a loopback host. No fragment, no userinfo, no "
        "wildcard, and at least one of them; the error is `invalid_redirect_uri`.",
    ),
)
def safe_addresses(world: World) -> None:
    expect_stopped(world, "ATK-131")
    for uri in ("http://app.example/cb", "http://127.0.0.1.evil.example/cb", "http://localhost.evil.example/cb"):
        expect_denied(register(world, redirect_uris=[uri]), BAD_URI)
    expect_denied(register(world, redirect_uris=[]), BAD_URI)
    expect_status(register(world, **MANY), 201)


@check(
    "03",
    "A client in the web has no address on this computer, and silence means the web.",
    section="OpenID Connect Registration §2",
    rule="fits_application_type",
    file="clients.py",
    hints=(
        "What kind of client is one that does not say `application_type`?",
        "It is `web`. A web client must not register a loopback address, a native one may; another kind is unknown.",
    ),
)
def fits_its_kind(world: World) -> None:
    for kind in (None, "web"):
        expect_denied(register(world, application_type=kind), BAD_URI)
    expect_denied(register(world, application_type="toaster"), BAD_METADATA)
    expect_status(register(world), 201)


@check(
    "03",
    "An authentication method that the server does not know is refused.",
    section="RFC 7591 §2",
    rule="known_auth_method",
    file="clients.py",
    hints=(
        "What if a client wants to prove itself in a way that this server cannot check?",
        "`token_endpoint_auth_method` must be one of `AUTH_METHODS`; the error is `invalid_client_metadata`.",
    ),
)
def known_methods(world: World) -> None:
    expect_status(register(world), 201)
    expect_stopped(world, "ATK-140")


@check(
    "03",
    "A secret is given to those who will use one, and to nobody else.",
    section="RFC 7591 §3.2.1",
    rule="register",
    file="clients.py",
    hints=(
        "A program on somebody's computer cannot keep a secret. Who gets one?",
        "Only a client whose method is not `none` gets `client_secret`, and `client_secret_expires_at` with it.",
    ),
)
def secrets_for_some(world: World) -> None:
    public = json_object(register(world))
    expect("client_id" in public and "client_secret" not in public, "A public client was given a client_secret.")
    posting = json_object(register(world, token_endpoint_auth_method="client_secret_post"))
    missing = {"client_secret", "client_secret_expires_at"} - set(posting)
    expect(not missing, f"A client with client_secret_post was given no {' and no '.join(sorted(missing))}.")


@check(
    "03",
    "A client has one source of keys, not two.",
    section="RFC 7591 §2",
    rule="one_key_source",
    file="clients.py",
    hints=(
        "What if a client sends both `jwks` and `jwks_uri`?",
        "The two exclude each other; the error is `invalid_client_metadata`.",
    ),
)
def one_source_of_keys(world: World) -> None:
    expect_status(register(world), 201)
    expect_stopped(world, "ATK-137")


@check(
    "03",
    "Only the authorization code flow can be registered by anybody.",
    section="RFC 7591 §2.1",
    rule="code_grant",
    file="clients.py",
    hints=(
        "Which grant types and response types may a stranger register?",
        "`authorization_code` must be among the grant types, and the response types are `code` and nothing else.",
    ),
)
def only_the_code_flow(world: World) -> None:
    expect_status(register(world), 201)
    for changes in ({"grant_types": ["client_credentials"]}, {"response_types": ["token"]}, {"grant_types": []}):
        expect_denied(register(world, **changes), BAD_METADATA)


@check(
    "03",
    "What the server does not know is ignored.",
    section="RFC 7591 §2",
    rule="REGISTRABLE",
    file="clients.py",
    hints=(
        "A client of tomorrow says things that no server of today has heard of.",
        "Keep the members that the server knows, and leave all others out of what is registered and answered.",
    ),
)
def ignores_the_rest(world: World) -> None:
    answer = register(world, favourite_colour="blue")
    expect(answer.status_code == 201, f"{asked(answer)} answered {came(answer)}, not 201.")
    expect("favourite_colour" not in json_object(answer), "An unknown member was registered.")


# ── the client ────────────────────────────────────────────────────────────────────────────────────


@check(
    "03",
    "The client registers as what it is: a native program without a secret.",
    section="MCP 2026-07-28, dynamic client registration",
    rule="ABOUT_US",
    file="client.py",
    hints=(
        "What does the client say of itself, and what would its silence mean?",
        "It says `application_type` native, `token_endpoint_auth_method` none, and a loopback redirect_uri.",
    ),
)
def says_what_it_is(world: World) -> None:
    found = expect_walk(world)
    sent = [request for request in found.net.asked if str(request.url) == f"{ISSUER}/register"]
    expect(sent, "The client asked for no registration.")
    said = json.loads(sent[0].content)
    for name, wanted in (("application_type", "native"), ("token_endpoint_auth_method", "none")):
        expect(said.get(name) == wanted, f"It said {name} {said.get(name)!r}.")
    uris = said.get("redirect_uris") or []
    expect(uris and all("//127.0.0.1" in uri or "//[::1]" in uri for uri in uris), f"It said redirect_uris {uris}.")


@check(
    "03",
    "Not registered, it stops with the server's reason.",
    section="RFC 7591 §3.2.2",
    rule="register",
    file="client.py",
    hints=(
        "What does the client do with an answer that is no 201, or has no `client_id` in it?",
        "It stops with a sentence that has the server's `error_description` or `error` in it, and goes no further.",
    ),
)
def stops_without_a_name(world: World) -> None:
    expect_walk(world)
    for status, answer in ((400, {"error": "invalid_client_metadata", "error_description": "no room"}), (201, {})):
        found = walk(world, honest_net().at(f"{ISSUER}/register", answer, status))
        expect(found.stopped, f"{status} with {answer or 'nothing in it'} did not stop it so. {found.ending()}")
        reason = answer.get("error_description", "")
        expect(reason in found.words, f"The server said {reason!r}; the client said {found.words!r}.")
