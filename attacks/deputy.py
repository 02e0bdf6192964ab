"""Our own rows: what stands behind the MCP server, and would serve it whatever it asks."""

from attacks.core import Verdict, as_specified, attack, got_in, otherwise
from attacks.world import BASIC, REBALANCE, World

BEST_PRACTICES = "MCP security best practices"


@attack("ATK-201", "Confused deputy at an API behind the server", BEST_PRACTICES, "MCP", stopped_from="07")
def confused_deputy(world: World) -> Verdict:
    """The server may read every customer upstream. Bob may not read alice's, nor have them rebalanced."""
    bob = world.access_token("bob", scope=f"{BASIC} {REBALANCE}")
    others, nobodys = world.read(bob, "customers://c-1"), world.read(bob, "customers://c-9")
    if "Ada" in others.text or "ACME" in world.call(bob, "rebalance_customer", id="c-1").text:
        return got_in("another person's customer")
    if (others.status_code, others.text.replace("c-1", "")) != (nobodys.status_code, nobodys.text.replace("c-9", "")):
        return otherwise("it tells that there is such a customer")
    if "Cem" not in world.read(bob, "customers://c-2").text:
        return otherwise("bob cannot read his own")
    return as_specified(f"{others.status_code}, as for a customer who does not exist")


@attack("ATK-202", "Token passthrough to an API behind the server", BEST_PRACTICES, "MCP", stopped_from="07")
def token_passthrough(world: World) -> Verdict:
    """The API behind the server takes the server's own token. The user's is not sent there, and would not be taken."""
    upstream, heard = world.upstream()
    token = world.access_token()
    if "Ada" not in world.read(token, "customers://c-1").text:
        return otherwise("alice cannot read her own customer")
    if any(token in str(request.headers) for request in heard):
        return got_in("the user's token went further than its audience")
    answer = upstream.get("/customers/c-1", headers={"Authorization": f"Bearer {token}"})
    if answer.status_code != 401:
        return got_in(f"the API behind answered {answer.status_code}")
    return as_specified("401")
