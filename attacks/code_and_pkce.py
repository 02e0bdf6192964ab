"""Group A: the authorization code, and the proof that goes with it."""

from attacks.core import Verdict, attack, denied, denied_at_home, got_in, otherwise, worst
from attacks.world import World


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


@attack("ATK-007", "PKCE method plain", "OAuth 2.1 §4.1.1, §4.1.2.1", "AS", stopped_from="04")
def method_plain(world: World) -> Verdict:
    client_id = world.register()["client_id"]
    ask = world.ask(client_id, code_challenge_method="plain")
    return denied_at_home(world.auth.get("/authorize", params=ask), "invalid_request")
