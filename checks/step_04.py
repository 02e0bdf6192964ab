"""What step 04 promises: a stolen code is worthless: only whoever asked for it can redeem it."""

import base64
import hashlib
import secrets

import httpx2
import jwt

from attacks.core import answer_in, json_object
from attacks.hostile import EVIL, bringing, evil_net, honest_net, honest_visit
from attacks.world import BASIC, CALLBACK, NATIVE, REBALANCE, World
from checks.core import (
    Failed,
    check,
    expect,
    expect_denied,
    expect_let_in,
    expect_outside,
    expect_page,
    expect_sent_home,
    expect_status,
    expect_stopped,
)
from checks.walking import expect_refusal, expect_walk, walk
from checks.words import asked
from shared.addresses import ISSUER, NEIGHBOUR, RESOURCE

TEN_MINUTES = 601  # seconds, and one more: no code should live longer, OAuth 2.1 §4.1.2
SENTIMENT = "mcp:tools:sentiment"
NO_GRANT, NO_CLIENT = (400, "invalid_grant"), (401, "invalid_client")
THIEFS = "a-thief-has-another-secret-of-43-characters"
ALMOST_OURS = ("http://127.0.0.1:4567/elsewhere", f"{CALLBACK}/", f"{CALLBACK}?more=1", "http://127.0.0.1:4567")
TOO_SHORT = "x" * 42  # characters: one too few, RFC 7636 §4.1
PUSHED = "a-code-that-somebody-else-brought"


def ask(world: World, client_id: str, **changes: str | None) -> httpx2.Response:
    """An authorization request in a browser, not followed by anything."""
    return world.auth.get("/authorize", params=world.ask(client_id, **changes))


def client_with_code(world: World) -> tuple[str, str]:
    client_id = world.register()["client_id"]
    return client_id, world.code(client_id)


def challenge_for(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def worthless(answer: httpx2.Response, otherwise: str) -> None:
    """A code that buys nothing any more, or `otherwise`."""
    expect(answer.status_code != 200, otherwise)
    expect_denied(answer, NO_GRANT)


def audience_of(token: object) -> object:
    try:
        return jwt.decode(str(token), options={"verify_signature": False}).get("aud")
    except jwt.InvalidTokenError:
        raise Failed("The access token is no JWT.") from None


# ── the two servers together ──────────────────────────────────────────────────────────────────────


@check(
    "04",
    "A person allows it, and a tool answers on their behalf.",
    section="RFC 9068 §2.2",
    rule="who_is_it",
    file="bearer.py",
    hints=(
        "The whole way: /register, /authorize, /consent, /token, and then `whoami` at /mcp. Run the client, and see "
        "how far it gets.",
        "/consent sends a code to the client, /token trades it for a signed JWT, and the guard takes the person from "
        "the claim `sub` and the program from `client_id`.",
    ),
)
def on_their_behalf(world: World) -> None:
    client_id = world.register()["client_id"]
    for person in ("alice", "bob"):
        found = world.tokens(client_id, person)
        expect(str(found.get("token_type")).lower() == "bearer", f"token_type was {found.get('token_type')!r}.")
        answer = world.call(found["access_token"], "whoami")
        expect_status(answer, 200)
        expect(person in answer.text and client_id in answer.text, f"{person} asked whoami: {answer.text[:200]}")


# ── the authorization endpoint ────────────────────────────────────────────────────────────────────


@check(
    "04",
    "An unknown client or address gets a page: the browser is sent nowhere.",
    section="OAuth 2.1 §4.1.2.1",
    rule="exact_redirect_uri",
    file="auth_server.py",
    hints=(
        "Until the address is certain, an error must not travel. Which rules come before that moment?",
        "Compare `redirect_uri` with the registered ones as text; only on loopback may the port differ. Otherwise "
        "answer 400 with a page, without `Location`.",
    ),
)
def sent_nowhere(world: World) -> None:
    client_id = world.register()["client_id"]
    expect_status(ask(world, client_id, redirect_uri=CALLBACK), 200)
    for other in (f"{EVIL}/callback", *ALMOST_OURS):
        expect_page(ask(world, client_id, redirect_uri=other))
    expect_stopped(world, "ATK-029", "ATK-019", "ATK-025", "ATK-026")


@check(
    "04",
    "Every other answer travels home by 303, repeats the state and says who sends it.",
    section="RFC 9207 §2, RFC 9700 §4.12",
    rule="back_to_client",
    file="auth_server.py",
    hints=(
        "One function makes all redirects to the client. What does it put into the address?",
        "`code` or `error`, then `iss`, and `state` if there was one, percent-encoded; the status is 303, so that no "
        "browser posts the password once more.",
    ),
)
def travels_home(world: World) -> None:
    client_id, state = world.register()["client_id"], "a state & more"
    answers = {
        "code": world.consent(world.ask(client_id, state=state)),
        "error": ask(world, client_id, state=state, response_type="token"),
    }
    for wanted, answer in answers.items():
        found = answer_in(answer)
        expect_status(answer, 303)
        expect(answer.headers["location"].startswith(f"{CALLBACK}?"), f"{asked(answer)} sent the browser elsewhere.")
        expect(wanted in found, f"There was no {wanted} in the answer, but {', '.join(found) or 'nothing'}.")
        expect(found.get("state") == state, f"state was {found.get('state')!r} in the answer with {wanted}.")
        expect(found.get("iss") == world.issuer, f"iss was {found.get('iss')!r} in the answer with {wanted}.")


@check(
    "04",
    "Without a challenge of the method S256 nobody is asked anything.",
    section="RFC 7636 §4.3, §4.4.1",
    rule="s256_challenge",
    file="auth_server.py",
    hints=(
        "What does it mean if a client leaves `code_challenge_method` out?",
        "It would mean plain. `code_challenge_method` must be S256 and `code_challenge` 43 characters of base64url; "
        "the error is `invalid_request`, and it travels home.",
    ),
)
def only_s256(world: World) -> None:
    client_id = world.register()["client_id"]
    for changes in ({"code_challenge_method": "plain"}, {"code_challenge_method": None}, {"code_challenge": "abc"}):
        expect_sent_home(ask(world, client_id, **changes), "invalid_request")
    expect_status(ask(world, client_id), 200)


@check(
    "04",
    "Only what the person who signed in has ticked is granted.",
    section="OAuth 2.1 §3.2.3",
    rule="consent",
    file="auth_server.py",
    hints=(
        "The form comes back with a name, a password, a decision and the scopes that are still ticked.",
        "A wrong password gets no code. A no goes home as `access_denied`. What is granted is what was asked and is "
        "ticked too, and the answer of /token says how much that is.",
    ),
)
def what_was_ticked(world: World) -> None:
    client_id = world.register()["client_id"]
    wanted = world.ask(client_id, scope=f"{BASIC} {REBALANCE}")
    stranger = world.consent(wanted, password="not the password")
    expect("code" not in answer_in(stranger), "A wrong password was enough for a code.")
    expect_sent_home(world.consent(wanted, decision="deny"), "access_denied")
    granted = world.redeem(client_id, answer_in(world.consent(wanted, scope=[SENTIMENT]))["code"])
    expect_status(granted, 200)
    scope = json_object(granted).get("scope")
    expect(scope == SENTIMENT, f"{SENTIMENT} was ticked, and {scope} was granted.")
    added = world.consent(world.ask(client_id, scope=SENTIMENT), scope=[SENTIMENT, REBALANCE])
    if "code" in answer_in(added):  # whoever refuses such a form altogether is right as well
        scope = json_object(world.redeem(client_id, answer_in(added)["code"])).get("scope", SENTIMENT)
        expect(scope == SENTIMENT, f"{SENTIMENT} was asked for, the form came back with more, and {scope} was granted.")


# ── the token endpoint ────────────────────────────────────────────────────────────────────────────


@check(
    "04",
    "A code works once, and only for the client it was given to.",
    section="OAuth 2.1 §4.1.3",
    rule="redeem_code",
    file="tokens.py",
    hints=(
        "What becomes of a code when it has been redeemed, and who may redeem it?",
        "Find the code, see that its `client_id` is the one that asks, and take it out of the store before anything "
        "else is checked. The error is `invalid_grant`.",
    ),
)
def works_once(world: World) -> None:
    client_id, code = client_with_code(world)
    another = world.register()["client_id"]
    worthless(world.redeem(another, code), "Another client came with the code, and got a token.")
    expect_status(world.redeem(client_id, code), 200)
    worthless(world.redeem(client_id, code), "The same code came a second time, and bought another token.")
    client_id, code = client_with_code(world)
    world.redeem(client_id, code, code_verifier=THIEFS)
    after = world.redeem(client_id, code)
    worthless(after, "A thief tried it with a wrong code_verifier, and after that it still works.")


@check(
    "04",
    "Whoever redeems it shows the secret that the challenge was made of.",
    section="RFC 7636 §4.6",
    rule="s256_verifier",
    file="tokens.py",
    hints=(
        "The client sent a hash ahead. What does it send now, and what is compared with what?",
        "The SHA-256 of `code_verifier`, in base64url without padding, must equal the `code_challenge` of the "
        "request. A verifier that is missing, too short or another one is `invalid_grant`.",
    ),
)
def shows_the_secret(world: World) -> None:
    for verifier in (THIEFS, None, "", "too-short"):
        client_id, code = client_with_code(world)
        expect_denied(world.redeem(client_id, code, code_verifier=verifier), NO_GRANT, (400, "invalid_request"))
    client_id = world.register()["client_id"]
    code = world.code(client_id, code_challenge=challenge_for(TOO_SHORT))
    answer = world.redeem(client_id, code, code_verifier=TOO_SHORT)
    expect(answer.status_code != 200, f"A code_verifier of {len(TOO_SHORT)} characters is enough, if it fits.")
    expect_denied(answer, NO_GRANT, (400, "invalid_request"))
    expect_status(world.redeem(*client_with_code(world)), 200)


@check(
    "04",
    "It names the same redirect_uri as before, or none.",
    section="OAuth 2.1 §10.2",
    rule="same_redirect_uri",
    file="tokens.py",
    hints=(
        "A client of OAuth 2.0 sends `redirect_uri` to /token too. What if it is not the one of the request?",
        "If it is there, it must be the text that stood in the request; else the error is `invalid_grant`.",
    ),
)
def same_address(world: World) -> None:
    expect_stopped(world, "ATK-038")
    for same in (CALLBACK, None):
        expect_status(world.redeem(*client_with_code(world), redirect_uri=same), 200)


@check(
    "04",
    "A code is good for minutes at most.",
    section="OAuth 2.1 §4.1.2",
    rule="still_fresh",
    file="tokens.py",
    hints=(
        "How long does a code live that nobody comes for?",
        "Note when it was given, and compare that with the clock when it comes back. The error is `invalid_grant`.",
    ),
)
def soon_too_old(world: World) -> None:
    client_id, code = client_with_code(world)
    world.later(TEN_MINUTES)
    worthless(world.redeem(client_id, code), "Ten minutes after it was given, a code still works.")
    expect_status(world.redeem(*client_with_code(world)), 200)


@check(
    "04",
    "A token is made for one door: the one that was asked for.",
    section="RFC 8707 §2, RFC 9068 §3",
    rule="same_resource",
    file="tokens.py",
    hints=(
        "Follow `resource` from the request of the client into the token.",
        "It is needed at /authorize, must not be another one at /token (`invalid_target`), and is the claim `aud`.",
    ),
)
def one_door(world: World) -> None:
    expect_stopped(world, "ATK-044", "ATK-046")
    client_id = world.register()["client_id"]
    for resource in (world.resource, NEIGHBOUR):
        answer = world.auth.get("/authorize", params=world.ask(client_id, resource=resource))
        if resource == NEIGHBOUR and answer_in(answer).get("error") == "invalid_target":
            return  # a server that knows only one door cannot be asked for another
        audience = audience_of(world.tokens(client_id, resource=resource).get("access_token"))
        expect(
            audience in (resource, [resource]), f"A token for {resource} was asked for, and its aud is {audience!r}."
        )


@check(
    "04",
    "Nothing can be said twice.",
    section="OAuth 2.1 §3.1, §3.2",
    rule="once_each",
    file="clients.py",
    hints=(
        "What does the server do with two values of one parameter: take the first, the last, or neither?",
        "Look at all pairs of name and value before anything else does: a second one is `invalid_request` "
        "(`invalid_target` for `resource`).",
    ),
)
def said_twice(world: World) -> None:
    client_id, code = client_with_code(world)
    expect_status(world.redeem(*client_with_code(world)), 200)
    twice = [*world.ask(client_id).items(), ("response_type", "code")]
    expect_sent_home(world.auth.get("/authorize", params=twice), "invalid_request")
    verifiers = world.redeem(client_id, code, code_verifier=[THIEFS, THIEFS])
    expect_denied(verifiers, (400, "invalid_request"))
    expect_stopped(world, "ATK-047")


@check(
    "04",
    "A client that has a secret shows it, and one without does not pretend to.",
    section="OAuth 2.1 §3.2.1, §3.2.4",
    rule="authenticated_client",
    file="clients.py",
    hints=(
        "Anybody knows a `client_id`. For which clients is that enough?",
        "A client that registered with `client_secret_post` must send its secret in the form; none, a wrong one, or "
        "one from a public client is 401 `invalid_client`.",
    ),
)
def shows_its_secret(world: World) -> None:
    posting = world.register(**NATIVE | {"token_endpoint_auth_method": "client_secret_post"})
    name, secret = posting["client_id"], posting["client_secret"]
    for wrong in (None, secrets.token_urlsafe(32)):
        answer = world.redeem(name, world.code(name), client_secret=wrong)
        shown = "another one" if wrong else "none"
        expect(answer.status_code != 200, f"A client that has a secret showed {shown}, and got a token.")
        expect_denied(answer, NO_CLIENT)
    expect_denied(world.redeem(*client_with_code(world), client_secret="mine"), NO_CLIENT)
    expect_status(world.redeem(name, world.code(name), client_secret=secret), 200)


# ── the MCP server ────────────────────────────────────────────────────────────────────────────────


@check(
    "04",
    "What cannot even be read as a token is refused as a bad one.",
    section="RFC 7519 §7.2, OAuth 2.1 §5.3.2",
    rule="take_apart",
    file="bearer.py",
    hints=(
        "What does the guard answer to `Authorization: Bearer rubbish`? Compare it with the answer to no token.",
        "Three parts of base64url, the first two JSON objects; else 401 with `error` `invalid_token` in the "
        "challenge, beside `resource_metadata`.",
    ),
)
def no_token_at_all(world: World) -> None:
    for rubbish in ("rubbish", "a.b.c", "bnVsbA.bnVsbA.", f"{'a' * 40}.{'b' * 40}"):
        expect_outside(world.list_tools(f"Bearer {rubbish}"), 401, "invalid_token")
    expect_let_in(world, world.access_token())


# ── the client ────────────────────────────────────────────────────────────────────────────────────


@check(
    "04",
    "The client's secret stays with it, and only its hash goes through the browser.",
    section="RFC 7636 §4.1, §4.3",
    rule="authorize",
    file="client.py",
    hints=(
        "Look at the address that the user is sent to, and at the form that goes to the token endpoint.",
        "Make `code_verifier` and `state` anew for each request. `code_challenge` is the SHA-256 of the verifier in "
        "base64url; the verifier itself goes to /token only. Name `resource` in both.",
    ),
)
def secret_stays(world: World) -> None:
    walks = [expect_walk(world), expect_walk(world)]
    for found in walks:
        expect(found.pages, "The client sent its user nowhere.")
        page, form = found.pages[0], found.form(f"{ISSUER}/token")
        verifier = form.get("code_verifier", "")
        digest = challenge_for(verifier)
        expect(len(verifier) >= 43, f"Its code_verifier has {len(verifier)} characters.")
        expect(page.get("code_challenge_method") == "S256", f"Its method was {page.get('code_challenge_method')}.")
        expect(page.get("code_challenge") == digest, "Its code_challenge is not the hash of its code_verifier.")
        named = (page.get("resource"), form.get("resource"))
        expect(named == (RESOURCE, RESOURCE), f"It named resource {named[0]} first, and then {named[1]}.")
    for name in ("code_challenge", "state"):
        expect(walks[0].pages[0].get(name) != walks[1].pages[0].get(name), f"Two requests had the same {name}.")


@check(
    "04",
    "An answer to a question that it did not ask is dropped.",
    section="RFC 9700 §4.7",
    rule="authorize",
    file="client.py",
    hints=(
        "Anybody can send a browser to the client's callback page. How does the client know its own answer?",
        "Compare `state` with the one that was sent, before anything else in the answer is looked at; if it differs "
        "or is missing, go on waiting.",
    ),
)
def drops_strangers(world: World) -> None:
    for state in ("another", None):
        net = honest_net()
        found = walk(world, net, bringing(code=PUSHED, state=state), honest_visit)
        expect(not net.was_told(PUSHED), f"A code with state {state!r} went to the token endpoint.")
        expect(net.was_told("the code"), f"The honest answer that came next was lost. {found.ending()}")


@check(
    "04",
    "An answer of another server is refused, and so is one that hides who sends it.",
    section="RFC 9207 §2.4",
    rule="from_the_same_issuer",
    file="client.py",
    hints=(
        "The client talks to two servers, and a code of the honest one arrives. Whom will it be told?",
        "Compare `iss` in the answer with the issuer that was asked, as text. Missing, it is refused if the server's "
        "metadata promised it; this rule is the first of `ANSWER_RULES`.",
    ),
)
def refuses_another_issuer(world: World) -> None:
    expect_walk(world)
    for iss in (EVIL, f"{ISSUER}/", None):
        expect_refusal(world, honest_net(), bringing(iss=iss), before=f"{ISSUER}/token")
    borrowed = evil_net(authorization_endpoint=f"{ISSUER}/authorize")
    expect_refusal(world, borrowed, honest_visit, before=f"{EVIL}/token")
