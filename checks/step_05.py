"""What step 05 promises: a token opens the door it was made for, and no other."""

import jwt
from starlette.responses import Response

from attacks.core import NotHere
from attacks.hostile import EVIL, standing_in
from attacks.jwt_checks import by_issuer, own_key, own_public_key, published, rs256, seen
from attacks.world import InProcess, World
from checks.core import (
    at_home,
    check,
    expect,
    expect_let_in,
    expect_outside,
    expect_sent_home,
    expect_status,
    expect_stopped,
)
from checks.words import came
from shared.addresses import NEIGHBOUR

PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "k"}
FIVE_MINUTES = 300  # seconds


def in_this_process(world: World, needs: str) -> InProcess:
    """The same programs within reach; or a word on what it is that nobody has who only knows their addresses."""
    try:
        return at_home(world)
    except NotHere:
        raise NotHere(f"needs {needs}") from None


def as_issuer(world: World) -> InProcess:
    """Where tokens can be signed as the issuer signs them: with the key that `tokens.py` holds."""
    home = in_this_process(world, "the key of the authorization server")
    if not hasattr(home.token_room, "signing_key"):
        raise NotHere("needs the key of the authorization server, which is signing_key in tokens.py")
    return home


def honest_issuer(world: World) -> InProcess:
    """The same, once a token that we signed as the issuer does has been let in: only then can a flaw in it count."""
    home = as_issuer(world)
    expect_let_in(home, by_issuer(home, home.claims()))
    return home


def shown_keys(world: World) -> list[dict]:
    keys = published(world)
    expect(keys, "The metadata leads to no key: it has no jwks_uri, or an empty set is there.")
    return keys


@check(
    "05",
    "Anybody can verify a token with the key that is published, and the door lets it in.",
    section="RFC 7517 §5, RFC 8414 §2",
    rule="jwks",
    file="tokens.py",
    hints=(
        "Look at the endpoint /jwks in tokens.py, and at the jwks_uri in the metadata of auth_server.py.",
        "Publish the public members of the signing key as a JWK set: kty, use sig, alg, kid, n and e. The token's "
        "header names the same kid.",
    ),
)
def published_key(world: World) -> None:
    token, keys = world.access_token(), shown_keys(world)
    kid = jwt.get_unverified_header(token).get("kid")
    named = [key for key in keys if kid and key.get("kid") == kid]
    expect(named, "The kid in the token's header is not in the key set.")
    expect(not any(PRIVATE & set(key) for key in keys), "The key set shows more than the public half.")
    usual = all((key.get("use", "sig"), key.get("alg", "RS256")) == ("sig", "RS256") for key in keys)
    expect(usual, "A published key is not for signatures with RS256.")
    try:
        jwt.PyJWS().decode(token, jwt.PyJWK(named[0], "RS256"), algorithms=["RS256"])
    except jwt.PyJWTError:
        expect(False, "The published key does not fit the token's signature.")
    who = world.call(token, "whoami")
    expect_status(who, 200)
    expect("alice" in who.text, "alice allowed it, and the MCP server takes the caller for somebody else.")


@check(
    "05",
    "Two doors are known, and nobody gets a token for a third.",
    section="RFC 8707 §2",
    rule="names_a_resource",
    file="tokens.py",
    hints=(
        "Look at names_a_resource and at RESOURCES in tokens.py.",
        "Compare what was asked with the list of known resources as text; answer invalid_target for all others.",
    ),
)
def known_resources(world: World) -> None:
    client_id = world.register()["client_id"]
    known = world.auth.get("/authorize", params=world.ask(client_id, resource=NEIGHBOUR))
    expect(known.status_code == 200, f"Nobody can ask for a token for {NEIGHBOUR}: {came(known)}.")
    for resource in ("https://bank.example/mcp", f"{world.resource}/", f"{EVIL}/mcp"):
        answer = world.auth.get("/authorize", params=world.ask(client_id, resource=resource))
        expect_sent_home(answer, "invalid_target")


@check(
    "05",
    "A genuine token that was made for another door stays outside.",
    section="RFC 9068 §4",
    rule="made_for_us",
    file="bearer.py",
    hints=(
        "Look at BEARER_RULES in bearer.py: which of them reads aud?",
        "The audience is exactly our resource, as text or as a list of one. What looks like it does not count.",
    ),
)
def another_door(world: World) -> None:
    expect_let_in(world, world.access_token())
    expect_stopped(world, "ATK-050")


@check(
    "05",
    "What the issuer's key has not signed is not believed: forged, tampered, or without a signature.",
    section="RFC 8725 §3.1, RFC 7515 §5.2",
    rule="signed_by_our_issuer",
    file="bearer.py",
    hints=(
        "Look at signed_by_our_issuer in bearer.py, and at what it does with the key it has found.",
        "Verify the signature with the key that the kid names, and name the one algorithm yourself: the token's "
        "header is not asked.",
    ),
)
def not_signed(world: World) -> None:
    expect_let_in(world, world.access_token())
    header, claims = seen(world)
    forged = rs256(header, claims | {"sub": "mallory"})
    answer = world.list_tools(f"Bearer {forged}")
    expect(answer.status_code != 200, "A token was let in that somebody else's key has signed.")
    expect_outside(answer, 401, "invalid_token")
    expect_stopped(world, "ATK-058", "ATK-067")


@check(
    "05",
    "Whatever else the issuer signs is no access token.",
    section="RFC 9068 §4, RFC 8725 §3.11",
    rule="is_access_token",
    file="bearer.py",
    hints=(
        "Look at BEARER_RULES in bearer.py: which of them reads the token's typ?",
        "Take at+jwt and application/at+jwt, in any case, and refuse every other typ, a missing one too.",
    ),
)
def another_kind(world: World) -> None:
    expect_stopped(as_issuer(world), "ATK-065")


@check(
    "05",
    "A token with an extension that we do not understand stays outside.",
    section="RFC 7515 §4.1.11",
    rule="without_extensions",
    file="bearer.py",
    hints=(
        "Look at BEARER_RULES in bearer.py: which of them reads crit in the token's header?",
        "We understand no extension, so any crit at all means no, whatever stands in it.",
    ),
)
def unknown_extension(world: World) -> None:
    home = honest_issuer(world)
    expect_stopped(home, "ATK-064")


@check(
    "05",
    "A token that leaves out what it must say, or says it in another type, stays outside.",
    section="RFC 9068 §2.2",
    rule="has_all_claims",
    file="bearer.py",
    hints=(
        "Look at has_all_claims in bearer.py, and at the list in RFC 9068 §2.2.",
        "iss, sub, client_id and jti are text that is not empty; iat and exp are numbers, and nbf if it is there.",
    ),
)
def claims_missing(world: World) -> None:
    home = honest_issuer(world)
    texts, moments = ("sub", "client_id", "jti"), ("iat", "exp")
    changes = [{name: value} for name in texts for value in (None, "", 5, ["alice"])]
    changes += [{name: value} for name in moments for value in (None, "9999999999", True)]
    for change in changes:
        answer = home.list_tools(f"Bearer {by_issuer(home, home.claims(**change))}")
        [(name, value)] = change.items()
        instead = f"without {name}" if value is None else f"whose {name} is {value!r}"
        expect(answer.status_code == 401, f"A token {instead} was answered {came(answer)}, not 401.")


@check(
    "05",
    "A token that names another issuer stays outside, even one that differs by a slash.",
    section="RFC 9068 §4",
    rule="from_our_issuer",
    file="bearer.py",
    hints=(
        "Look at BEARER_RULES in bearer.py: which of them reads iss?",
        "Compare iss with the issuer that we trust, as text; a URL that means the same is another issuer.",
    ),
)
def another_issuer(world: World) -> None:
    home = honest_issuer(world)
    for other in (f"{home.issuer}/", home.issuer.upper(), EVIL):
        answer = home.list_tools(f"Bearer {by_issuer(home, home.claims(iss=other))}")
        expect(answer.status_code == 401, f"A token of {other} was answered {came(answer)}, not 401.")


@check(
    "05",
    "A token works from its beginning to its end, and not before or after.",
    section="RFC 7519 §4.1.4, §4.1.5",
    rule="within_its_time",
    file="bearer.py",
    hints=(
        "Look at BEARER_RULES in bearer.py: which of them asks what time it is?",
        "The time lies between iat (and nbf, if it is there) and exp. Two clocks may differ by LEEWAY, no more.",
    ),
)
def not_now(world: World) -> None:
    expect_let_in(world, world.access_token())
    expect_stopped(world, "ATK-055")
    expect_stopped(honest_issuer(world), "ATK-056")


@check(
    "05",
    "A new key of the issuer is found, and strangers cannot make the door ask for keys all the time.",
    section="RFC 8725 §3.10, RFC 7517 §5",
    rule="key_named",
    file="bearer.py",
    hints=(
        "Look at key_named in bearer.py: when does it ask again?",
        "Ask when the keys are old, and for an unknown kid at once, but then not again until COOL_DOWN is over.",
    ),
)
def patient_with_keys(world: World) -> None:
    home = as_issuer(world)
    keys = shown_keys(home)
    header, claims = seen(home)
    with standing_in(home, keys) as issuer:
        for number in range(5):
            home.list_tools(f"Bearer {rs256(header | {'kid': f'unknown {number}'}, claims)}")
        expect(issuer.asked <= 2, f"Five unknown kids made the MCP server ask for keys {issuer.asked} times.")
        issuer.keys = [*keys, own_public_key("new")]
        home.later(61)
        answer = home.list_tools(f"Bearer {home.signed(home.claims(), own_key(), kid='new')}")
    expect(answer.status_code == 200, f"A token of the issuer's new key was answered {came(answer)}, not 200.")


@check(
    "05",
    "While the issuer shows no keys, the answer is 503 and says when to try again: the token may be fine.",
    section="RFC 9110 §15.6.4",
    rule="no_keys",
    file="bearer.py",
    hints=(
        "Look at fetch_keys in bearer.py: what becomes of an error there?",
        "Whatever goes wrong while keys are fetched is not the token's fault: 503 with Retry-After, not 401.",
    ),
)
def keys_out_of_reach(world: World) -> None:
    home = in_this_process(world, "an authorization server that we can take the keys from")
    token = home.access_token()
    home.later(FIVE_MINUTES + 1)  # so that it must ask
    home.connect(Response(status_code=500))
    try:
        answer = home.list_tools(f"Bearer {token}")
    finally:
        home.connect(home.auth_server.app)
        home.later(2)
    expect_status(answer, 503)
    expect(answer.headers.get("retry-after", "").isdigit(), "The 503 has no Retry-After.")


@check(
    "05",
    "Two Authorization headers are one too many: nobody guesses which one counts.",
    section="OAuth 2.1 §5.3.2, RFC 9110 §5.3",
    rule="bearer_token",
    file="bearer.py",
    hints=(
        "Look at bearer_token in bearer.py: what does it do if the header is there twice?",
        "Count the Authorization headers before reading one, and answer 400 invalid_request if there are several.",
    ),
)
def two_headers(world: World) -> None:
    expect_let_in(world, world.access_token())
    expect_stopped(world, "ATK-079")
