"""Group C: which server a token is for, said by the client, kept by the issuer, read at the door."""

from attacks.core import NotHere, Verdict, attack, denied, denied_at_home, denied_at_the_door, otherwise, worst
from attacks.hostile import EVIL
from attacks.machines import ask_for_itself, basic
from attacks.world import BASIC, REBALANCE, InProcess, World
from shared.addresses import NEIGHBOUR


@attack("ATK-044", "resource missing", "RFC 8707 §2.1", "AS", stopped_from="04")
def no_resource(world: World) -> Verdict:
    """A token for every door: nobody can ask for that, neither in a person's name nor in their own."""
    client_id = world.register()["client_id"]
    asks = [world.ask(client_id, resource=value) for value in (None, "")]
    verdict = worst(*(denied_at_home(world.auth.get("/authorize", params=ask), "invalid_target") for ask in asks))
    try:
        machine = world.register_machine()
    except NotHere:
        return verdict
    answer = ask_for_itself(world, basic(machine["client_id"], machine["client_secret"]), resource=None)
    return worst(verdict, denied(answer, (400, "invalid_target")))


@attack("ATK-046", "Resource swapped at the token endpoint", "RFC 8707 §2.2", "AS", stopped_from="04")
def swapped_at_the_token_endpoint(world: World) -> Verdict:
    """The first try fails, and a second one does not help."""
    client_id = world.register()["client_id"]
    code = world.code(client_id)
    return worst(
        denied(world.redeem(client_id, code, resource=NEIGHBOUR), (400, "invalid_target")),
        denied(world.redeem(client_id, code, resource=NEIGHBOUR), (400, "invalid_target"), (400, "invalid_grant")),
    )


@attack("ATK-047", "Several resources", "RFC 8707 §2; RFC 9068 §5", "AS", stopped_from="04")
def several_resources(world: World) -> Verdict:
    client_id = world.register()["client_id"]
    ask = [*world.ask(client_id, resource=None).items()]
    pairs = ((world.resource, NEIGHBOUR), (NEIGHBOUR, world.resource), (world.resource, world.resource))
    asked = (world.auth.get("/authorize", params=[*ask, *(("resource", one) for one in pair)]) for pair in pairs)
    redeemed = world.redeem(client_id, world.code(client_id), resource=[world.resource, NEIGHBOUR])
    return worst(
        denied(redeemed, (400, "invalid_target")), *(denied_at_home(answer, "invalid_target") for answer in asked)
    )


@attack("ATK-049", "Resource swapped at refresh", "RFC 8707 §2.2; OAuth 2.1 §3.2.3", "AS", stopped_from="06")
def swapped_at_refresh(world: World) -> Verdict:
    """A wrong word costs the honest client nothing: its refresh token still works."""
    client_id, found = world.with_refresh()
    verdict = denied(world.refresh(client_id, found["refresh_token"], resource=NEIGHBOUR), (400, "invalid_target"))
    if world.refresh(client_id, found["refresh_token"]).status_code != 200:
        return worst(verdict, otherwise("the refresh token does not work any more"))
    return verdict


@attack("ATK-050", "Token for another audience", "RFC 9068 §4", "MCP", stopped_from="05")
def another_audience(world: World) -> Verdict:
    """The neighbour's token; and tokens for addresses that only look like ours."""
    tokens = [world.access_token(resource=NEIGHBOUR)]
    if isinstance(world, InProcess):
        origin = world.resource.removesuffix("/mcp")
        lookalikes = (f"{world.resource}/", f"{world.resource}-2", f"{origin}/", origin, f"{EVIL}/mcp", "mcp", "")
        tokens += [world.signed(world.claims(aud=aud)) for aud in lookalikes]
    return worst(*(stays_outside(world, token) for token in tokens))


@attack("ATK-052", "Audience list", "RFC 7519 §4.1.3; RFC 9068 §5", "MCP", stopped_from="05")
def audience_list(world: World) -> Verdict:
    """What opens two doors can be carried from one to the other."""
    lists = ([NEIGHBOUR, world.resource], [world.resource, NEIGHBOUR], [world.resource] * 2, [])
    tokens = (world.signed(world.claims(aud=aud)) for aud in lists)
    return worst(*(stays_outside(world, token) for token in tokens))


def stays_outside(world: World, token: str) -> Verdict:
    return denied_at_the_door(world.list_tools(f"Bearer {token}"), 401, "invalid_token")


@attack("ATK-053", "Token minted for a malicious MCP server", "RFC 9728 §7.4", "AS, MCP", stopped_from="05")
def malicious_server(world: World) -> Verdict:
    """It asks its users for a scope that only we offer, and then brings their tokens to us."""
    client_id = world.register()["client_id"]
    scope = f"{BASIC} {REBALANCE}"
    stranger = world.ask(client_id, resource=f"{EVIL}/mcp", scope=scope)
    token = world.tokens(client_id, resource=NEIGHBOUR, scope=scope)["access_token"]
    return worst(
        denied_at_home(world.auth.get("/authorize", params=stranger), "invalid_target"),
        denied_at_the_door(world.call(token, "rebalance", portfolio={"ACME": 100}), 401, "invalid_token"),
    )
