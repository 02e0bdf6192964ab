"""What step 08 promises: no person, same door. A machine proves itself, and the door does not change."""

import secrets

import httpx2
import jwt

from attacks.machines import (
    NOBODY,
    OURS,
    ask_for_itself,
    ask_with,
    assertion,
    basic,
    machine_with,
    machines,
    public_key,
)
from attacks.world import MACHINE, World
from checks.core import check, expect, expect_denied, expect_status, expect_stopped
from checks.step_05 import in_this_process
from checks.words import asked, came

METHODS = {"client_secret_basic", "client_secret_post", "private_key_jwt"}
BAD_METADATA = (400, "invalid_client_metadata")


def machines_are_known(world: World) -> None:
    announced = world.announced().get("grant_types_supported", [])
    expect("client_credentials" in announced, "The metadata does not list client_credentials.")


def token_for(world: World, machine: dict, **form: str) -> httpx2.Response:
    """Asked for in the way that this machine has registered."""
    name, method = machine["client_id"], machine["token_endpoint_auth_method"]
    if method == "client_secret_basic":
        return ask_for_itself(world, basic(name, machine["client_secret"]), **form)
    if method == "client_secret_post":
        return ask_for_itself(world, client_id=name, client_secret=machine["client_secret"], **form)
    return ask_with(world, assertion(world, name), **form)


def good_proof(world: World) -> str:
    """A machine's client_id, once its honest proof was taken: before that, a refusal means nothing."""
    client_id = machine_with(world)
    expect_status(ask_with(world, assertion(world, client_id)), 200)
    return client_id


def register_as_operator(world: World, **changes: object) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {world.initial_access_token()}"}
    return world.auth.post("/register", json=MACHINE | changes, headers=headers)


@check(
    "08",
    "A machine gets a token for itself in each of three ways; the same door opens, and nothing can be refreshed.",
    section="OAuth 2.1 §4.2, RFC 9068 §2.2",
    rule="client_credentials",
    file="tokens.py",
    hints=(
        "Look at client_credentials in tokens.py, and at GRANT_TYPES.",
        "The client is the subject of its own token: sub is client_id. What was registered is its scope, and the "
        "answer has no refresh token.",
    ),
)
def the_same_door(world: World) -> None:
    machines_are_known(world)
    found = machines(world)
    expect(len(found) == len(METHODS), "There is no machine: INITIAL_ACCESS_TOKEN, the operator's, is not set.")
    for machine in found:
        answer = token_for(world, machine)
        method = machine["token_endpoint_auth_method"]
        expect(answer.status_code == 200, f"{method}: {asked(answer)} answered {came(answer)}")
        tokens = answer.json()
        claims = jwt.decode(tokens["access_token"], options={"verify_signature": False})
        own = claims.get("sub") == claims.get("client_id") == machine["client_id"]
        expect(own, "sub and client_id of the token are not both the machine's client_id.")
        expect("refresh_token" not in tokens, "A machine got a refresh token.")
        expect_status(world.call(tokens["access_token"], "score_headline", headline="ACME soars"), 200)


@check(
    "08",
    "The metadata says which ways to authenticate there are, and which algorithms a proof may be signed with.",
    section="RFC 8414 §2",
    rule="server_metadata",
    file="auth_server.py",
    hints=(
        "Look at server_metadata in auth_server.py: what must a client know before it can sign?",
        "List the methods of the token endpoint, and beside private_key_jwt the signing algorithms; never none.",
    ),
)
def announced(world: World) -> None:
    metadata = world.announced()
    for endpoint in ("token", "revocation"):
        methods = set(metadata.get(f"{endpoint}_endpoint_auth_methods_supported", []))
        expect(
            methods >= METHODS,
            f"{endpoint}_endpoint_auth_methods_supported lacks {', '.join(sorted(METHODS - methods))}.",
        )
        algorithms = metadata.get(f"{endpoint}_endpoint_auth_signing_alg_values_supported", [])
        expect(
            {"RS256", "ES256"} <= set(algorithms) and "none" not in algorithms,
            f"{endpoint}_endpoint_auth_signing_alg_values_supported is {algorithms}, without RS256 and ES256.",
        )


@check(
    "08",
    "Only the operator registers a machine, with an initial access token.",
    section="RFC 7591 §3",
    rule="registered_by_the_operator",
    file="clients.py",
    hints=(
        "Look at MACHINE_RULES and shows_initial_access_token in clients.py.",
        "Without the token a machine is refused with invalid_client_metadata; a wrong token is 401 invalid_token, "
        "whatever is to be registered. People's programs register as before.",
    ),
)
def by_the_operator(world: World) -> None:
    machines_are_known(world)
    expect_denied(world.auth.post("/register", json=MACHINE), BAD_METADATA)
    wrong = {"Authorization": f"Bearer {secrets.token_urlsafe(32)}"}
    expect_denied(world.auth.post("/register", json=MACHINE, headers=wrong), (401, "invalid_token"))
    world.register()


@check(
    "08",
    "A machine is registered only with something to prove itself by, and with nowhere to send people.",
    section="OAuth 2.1 §4.2, RFC 7591 §2",
    rule="proves_itself",
    file="clients.py",
    hints=(
        "Look at MACHINE_RULES in clients.py: which method has no proof?",
        "Refuse the method none, refuse redirect_uris; private_key_jwt takes public keys with kid and alg.",
    ),
)
def confidential_only(world: World) -> None:
    machines_are_known(world)
    expect_denied(register_as_operator(world, token_endpoint_auth_method="none"), BAD_METADATA)
    sent = register_as_operator(world, redirect_uris=["https://machine.example/cb"])
    expect_denied(sent, (400, "invalid_redirect_uri"))
    private = public_key(OURS) | {"d": "AA"}
    for keys in (None, {"keys": []}, {"keys": [private]}):
        by_key = register_as_operator(world, token_endpoint_auth_method="private_key_jwt", jwks=keys)
        expect_denied(by_key, BAD_METADATA)


@check(
    "08",
    "A client authenticates in the one way that it registered, and in no other.",
    section="OAuth 2.1 §2.4, §3.2.4",
    rule="authenticated_client",
    file="clients.py",
    hints=(
        "Look at authenticated_client and WAYS in clients.py: which way was used, and which was registered?",
        "Count the proofs: more than one is invalid_request. Then compare the way that was used with the client's "
        "token_endpoint_auth_method; everything that does not fit is the same 401 invalid_client.",
    ),
)
def as_registered(world: World) -> None:
    machines_are_known(world)
    for machine in machines(world):
        expect_status(token_for(world, machine), 200)
    expect_stopped(world, "ATK-112")


@check(
    "08",
    "In a Basic header id and secret are form-encoded, and what cannot be read is a failed authentication.",
    section="RFC 6749 §2.3.1",
    rule="by_basic",
    file="clients.py",
    hints=(
        "Look at by_basic in clients.py: in which order is it taken apart?",
        "Decode base64, split at the one colon, then form-decode each part. Whatever fails on the way is 401 with "
        "a Basic challenge.",
    ),
)
def odd_basic(world: World) -> None:
    machines_are_known(world)
    expect_stopped(world, "ATK-115")


@check(
    "08",
    "A proof speaks for the client whose key has signed it, by an algorithm that the key was registered for.",
    section="RFC 7523 §3, RFC 8725 §3.1",
    rule="signed_by_the_client",
    file="clients.py",
    hints=(
        "Look at ASSERTION_RULES in clients.py: which of them has the key?",
        "Find the key by kid among those that this client registered, and verify with that key's algorithm. iss "
        "and sub are both the client, and client_assertion_type is the one for JWTs.",
    ),
)
def own_key_only(world: World) -> None:
    machines_are_known(world)
    good_proof(world)
    expect_stopped(world, "ATK-124")
    another_kind = ask_with(world, assertion(world, machine_with(world)), client_assertion_type="foo")
    expect_denied(another_kind, NOBODY)


@check(
    "08",
    "A proof that was made for another server proves nothing here.",
    section="RFC 7523 §3",
    rule="for_us_alone",
    file="clients.py",
    hints=(
        "Look at ASSERTION_RULES in clients.py: which of them reads aud?",
        "The issuer is the only audience, as text or as a list of one; the token endpoint's address is not.",
    ),
)
def for_another_server(world: World) -> None:
    machines_are_known(world)
    client_id = good_proof(world)
    others = ("https://as.example", f"{world.issuer}/token", [world.issuer, "https://as.example"], None)
    for other in others:
        expect_denied(ask_with(world, assertion(world, client_id, aud=other)), NOBODY)


@check(
    "08",
    "A proof that has expired, never expires, or lives long is refused.",
    section="RFC 7523 §3",
    rule="short_lived",
    file="clients.py",
    hints=(
        "Look at ASSERTION_RULES in clients.py: which of them asks what time it is?",
        "exp is required, and at most ASSERTION_LIFETIME away; iat and nbf, if they are there, lie in the past.",
    ),
)
def lives_too_long(world: World) -> None:
    machines_are_known(world)
    good_proof(world)
    expect_stopped(world, "ATK-122")


@check(
    "08",
    "A proof works once, and it has a number so that this can be known.",
    section="RFC 7523 §3",
    rule="never_seen",
    file="clients.py",
    hints=(
        "Look at ASSERTION_RULES in clients.py: which of them remembers?",
        "Remember jti by client until the proof expires; a known one, or none at all, is refused. This rule comes "
        "last, so that only proofs that are good are remembered.",
    ),
)
def proof_once(world: World) -> None:
    machines_are_known(world)
    client_id = machine_with(world)
    proof = assertion(world, client_id)
    expect_status(ask_with(world, proof), 200)
    expect_denied(ask_with(world, proof), NOBODY)
    for jti in (None, ""):
        expect_denied(ask_with(world, assertion(world, client_id, jti=jti)), NOBODY)


@check(
    "08",
    "A machine gets what was registered for it: no wider scope, no other door, no person's grant.",
    section="OAuth 2.1 §3.2.4, RFC 8707 §2",
    rule="CLIENT_CREDENTIALS_RULES",
    file="tokens.py",
    hints=(
        "Look at CLIENT_CREDENTIALS_RULES and client_credentials in tokens.py.",
        "What a client may ask in a person's name holds here too: a known resource, a registered scope.",
    ),
)
def nothing_wider(world: World) -> None:
    machines_are_known(world)
    expect_stopped(world, "ATK-118")


# ── the client ────────────────────────────────────────────────────────────────────────────────────


@check(
    "08",
    "The machine shows its credentials to the issuer that they belong to, whoever an MCP server names.",
    section="MCP Authorization Server Binding (SEP-2352)",
    rule="our_issuer",
    file="machine.py",
    hints=(
        "Look at ISSUER_RULES in machine.py: when are they asked?",
        "Compare the issuer that the metadata names with the one that gave us the credentials, before anything is "
        "sent there, and stop with a sentence.",
    ),
)
def steered(world: World) -> None:
    home = in_this_process(world, "the machine, which is no server")
    expect("machine.py" in home.step.files, "There is no machine.py.")
    expect(hasattr(home.loaded.module("machine"), "main"), "machine.py has no main.")
    expect_stopped(home, "ATK-127")
