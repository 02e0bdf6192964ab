"""Group A: the authorization code, and the proof that goes with it."""

import base64
import hashlib
import secrets

from attacks.core import Outcome, Verdict, attack, denied, denied_at_home, got_in, otherwise, worst
from attacks.hostile import honest_net, honest_visit, walk
from attacks.world import CHALLENGE, ELSEWHERE, VERIFIER, InProcess, World

ATTACKERS = "an-attacker-has-a-secret-of-43-characters-a"


def s256(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


@attack("ATK-001", "Code replay, everything else valid", "OAuth 2.1 §4.1.3, §7.5.3", "AS", stopped_from="07")
def code_replay(world: World) -> Verdict:
    """A second valid redemption takes back what the first one bought."""
    client_id = world.register(grant_types=["authorization_code", "refresh_token"])["client_id"]
    code = world.code(client_id)
    first = world.redeem(client_id, code).raise_for_status().json()
    second = denied(world.redeem(client_id, code), (400, "invalid_grant"))
    if "refresh_token" in first and world.refresh(client_id, first["refresh_token"]).status_code == 200:
        return worst(second, got_in("what the replayed code bought can still be refreshed"))
    if "refresh_token" not in first:
        return worst(second, otherwise("what the replayed code bought stays valid"))
    return second


@attack(
    "ATK-002",
    "Code replay with bad parameters (denial of service)",
    "OAuth 2.1 §7.5.3",
    "AS",
    stopped_from="04",
)
def spiteful_replay(world: World) -> Verdict:
    """Whoever saw the code but has no proof cannot take back what it bought, whatever they call it."""
    client_id = world.register(grant_types=["authorization_code", "refresh_token"])["client_id"]
    thief = world.register(grant_types=["authorization_code", "refresh_token"])["client_id"]
    code = world.code(client_id)
    first = world.redeem(client_id, code).raise_for_status().json()
    replays = worst(
        denied(world.redeem(client_id, code, code_verifier=ATTACKERS), (400, "invalid_grant")),
        denied(world.redeem(client_id, code, code_verifier=None), (400, "invalid_grant"), (400, "invalid_request")),
        denied(world.redeem(thief, code), (400, "invalid_grant")),
        denied(world.refresh(client_id, code), (400, "invalid_grant"), (400, "unsupported_grant_type")),
    )
    world.auth.post("/revoke", data={"client_id": client_id, "token": code})
    if world.list_tools(f"Bearer {first['access_token']}").status_code != 200:
        return got_in("a bad replay revokes the access token")
    if "refresh_token" in first and world.refresh(client_id, first["refresh_token"]).status_code != 200:
        return got_in("a bad replay revokes the refresh token")
    return replays


@attack(
    "ATK-004",
    "Code injection: stolen code, attacker's own verifier",
    "OAuth 2.1 §7.5.1, RFC 9700 §4.5",
    "AS",
    stopped_from="04",
)
def stolen_code(world: World) -> Verdict:
    """With a client of their own, even if they knew the secret; or as the victim's client."""
    client_id, own = world.register()["client_id"], world.register()["client_id"]
    victims, another = world.code(client_id), world.code(client_id)
    world.page(world.ask(client_id, code_challenge=s256(ATTACKERS)), world.browser())
    attempts = worst(
        denied(world.redeem(own, victims), (400, "invalid_grant")),
        denied(world.redeem(own, victims, code_verifier=ATTACKERS), (400, "invalid_grant")),
        denied(world.redeem(client_id, another, code_verifier=ATTACKERS), (400, "invalid_grant")),
    )
    if world.redeem(client_id, victims).status_code != 200:
        return worst(attempts, otherwise("whoever sees the code can use it up, with any client"))
    return attempts


@attack(
    "ATK-005",
    "Attacker's code pushed into the victim's client",
    "OAuth 2.1 §2.3.3, RFC 9700 §4.7",
    "C, AS",
    stopped_from="04",
)
def pushed_code(world: World) -> Verdict:
    """The victim would work in the attacker's account. The client drops it; the server would refuse it."""
    client_id = world.register()["client_id"]
    attackers = world.code(client_id, "bob", code_challenge=s256(ATTACKERS))
    at_the_server = denied(world.redeem(client_id, attackers), (400, "invalid_grant"))
    if not isinstance(world, InProcess):
        return at_the_server
    net = honest_net()
    walk(world, net, lambda ask: honest_visit(ask) | {"code": "pushed", "state": "another"}, honest_visit)
    if net.was_told("pushed"):
        return got_in("the client redeems a code that it did not ask for")
    return at_the_server


@attack("ATK-007", "PKCE method plain", "OAuth 2.1 §4.1.1, §4.1.2.1", "AS", stopped_from="04")
def method_plain(world: World) -> Verdict:
    """Whoever sees a plain challenge has the verifier, so it is neither taken nor announced."""
    client_id = world.register()["client_id"]
    ask = world.ask(client_id, code_challenge_method="plain")
    asked = denied_at_home(world.auth.get("/authorize", params=ask), "invalid_request")
    metadata = world.auth.get("/.well-known/oauth-authorization-server").json()
    announced = metadata["code_challenge_methods_supported"] == ["S256"]
    return asked if announced else worst(asked, otherwise("the metadata lists other methods than S256"))


@attack("ATK-008", "PKCE method left out", "OAuth 2.1 §4.1.1, RFC 7636 §4.3", "AS", stopped_from="04")
def method_left_out(world: World) -> Verdict:
    """No method means plain."""
    client_id = world.register()["client_id"]
    asks = (
        world.ask(client_id, code_challenge_method=None),
        world.ask(client_id, code_challenge_method=None, code_challenge=VERIFIER),
        world.ask(client_id, code_challenge_method=""),
    )
    return worst(*(denied_at_home(world.auth.get("/authorize", params=ask), "invalid_request") for ask in asks))


@attack("ATK-010", "Wrong verifier", "RFC 7636 §4.6", "AS", stopped_from="04")
def wrong_verifier(world: World) -> Verdict:
    """And there is no second guess."""
    client_id = world.register()["client_id"]
    code = world.code(client_id)
    guess = denied(world.redeem(client_id, code, code_verifier=ATTACKERS), (400, "invalid_grant"))
    if world.redeem(client_id, code).status_code == 200:
        return worst(guess, otherwise("the code survives a wrong guess"))
    return guess


@attack("ATK-011", "Verifier missing", "OAuth 2.1 §4.1.3", "AS", stopped_from="04")
def verifier_missing(world: World) -> Verdict:
    """Also if the client hashed nothing: its challenge fits no verifier at all."""
    client_id = world.register()["client_id"]
    verdicts = []
    for challenge in (CHALLENGE, s256("")):
        for verifier in (None, ""):
            code = world.code(client_id, code_challenge=challenge)
            answer = world.redeem(client_id, code, code_verifier=verifier)
            verdicts.append(denied(answer, (400, "invalid_grant"), (400, "invalid_request")))
    return worst(*verdicts)


@attack("ATK-013", "Malformed challenge", "OAuth 2.1 §4.1.1", "AS", stopped_from="04")
def malformed_challenge(world: World) -> Verdict:
    client_id = world.register()["client_id"]
    challenges = (None, "", "abc", CHALLENGE + "=", CHALLENGE + "\n", CHALLENGE[:-1] + "é", "A" * 44)
    asks = (world.ask(client_id, code_challenge=challenge) for challenge in challenges)
    return worst(*(denied_at_home(world.auth.get("/authorize", params=ask), "invalid_request") for ask in asks))


@attack("ATK-014", "Expired code", "OAuth 2.1 §4.1.2", "AS", stopped_from="04")
def expired_code(world: World) -> Verdict:
    client_id = world.register()["client_id"]
    code = world.code(client_id)
    world.later(61)
    return denied(world.redeem(client_id, code), (400, "invalid_grant"))


@attack("ATK-016", "Code guessing", "OAuth 2.1 §7.7", "AS", stopped_from="07")
def code_guessing(world: World) -> Verdict:
    """Slowed down at one address, while all others are served."""
    client_id = world.register()["client_id"]
    stranger, code = world.browser(ELSEWHERE), world.code(client_id)
    if len(code) < 22:
        return otherwise(f"a code of {len(code)} characters has less than 128 bits")
    form = {"grant_type": "authorization_code", "client_id": client_id, "code_verifier": VERIFIER}
    for _ in range(50):
        answer = stranger.post("/token", data=form | {"code": secrets.token_urlsafe(32)})
        if answer.status_code == 429:
            break
        guess = denied(answer, (400, "invalid_grant"))
        if guess.outcome != Outcome.AS_SPECIFIED:
            return guess
    else:
        return otherwise("50 guesses, and nobody minds")
    if not answer.headers.get("retry-after", "").isdigit():
        return otherwise("429 without Retry-After")
    if world.redeem(client_id, code).status_code != 200:
        return got_in("whoever guesses keeps others from being served")
    return denied(answer, (429, "temporarily_unavailable"))
