"""Our own rows: what a token does not allow stays shut, whichever way one asks for it."""

from attacks.core import Verdict, attack, denied_at_the_door, got_in, otherwise, worst
from attacks.transport import in_old_words, naming_two, old_session, ran, turned_away
from attacks.world import ACCEPT, BASIC, LIST_TOOLS, MCP_HEADERS, World

SENTIMENT, READ = BASIC.split()


@attack("ATK-203", "Customers read with a token for headlines", "OAuth 2.1 §5.3.2", "MCP", stopped_from="06")
def other_purpose(world: World) -> Verdict:
    """The token is good, and for something else. Spelling the address in another way does not help."""
    token = world.access_token(scope=SENTIMENT)
    asked = [world.read(token, uri) for uri in ("customers://c-1", "CUSTOMERS://c-1", "customers://c%2D1")]
    return worst(*(denied_at_the_door(answer, 403, "insufficient_scope") for answer in asked))


@attack("ATK-204", "Policy evaded by an older protocol", "MCP transports, 2025-11-25", "MCP", stopped_from="06")
def older_protocol(world: World) -> Verdict:
    """Before 2026-07-28 no header repeats what the body says. The body is judged all the same."""
    old = old_session(world, world.access_token())
    if not old:
        return otherwise("the old protocol is not spoken here, not even with a good token")
    return worst(
        *(denied_at_the_door(answer, 403, "insufficient_scope") for answer in in_old_words(world, old, "rebalance"))
    )


@attack("ATK-205", "One body, two readers", "RFC 8259 §4", "MCP", stopped_from="06")
def two_readers(world: World) -> Verdict:
    """A body that names two tools: the one that is judged must be the one that runs."""
    old = old_session(world, world.access_token())
    tries = []
    for names in (("whoami", "rebalance"), ("rebalance", "whoami")):
        body = naming_two(*names)
        answer = world.mcp.post("/mcp", content=body, headers=ACCEPT | old | {"Content-Type": "application/json"})
        if "ACME" in answer.text and ran(answer):
            return got_in("one tool was judged, and another one ran")
        if answer.status_code != 200:
            tries.append(denied_at_the_door(answer, 403, "insufficient_scope"))
    return worst(*tries) if tries else otherwise("neither name was judged")


@attack("ATK-227", "A line break behind the path", "RFC 9110 §4.2.3", "MCP", stopped_from="04")
def line_break(world: World) -> Verdict:
    """What looks for `^/mcp$` finds it there too. The door must not see another address than the server behind it."""
    paths = [f"/mcp{end}" for end in ("%0A", "%0a", "%0D%0A", "%00", "%20")]
    answers = [world.mcp.post(path, json=LIST_TOOLS, headers=MCP_HEADERS) for path in paths]
    return worst(*(turned_away(answer, 401, 404) for answer in answers))
