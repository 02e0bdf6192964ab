"""What step 01 promises: a locked door that says where the key is."""

import httpx2

from attacks.core import json_object
from attacks.hostile import EVIL, PRM, PRM_URL, honest_net
from attacks.world import LIST_TOOLS, MCP_HEADERS, World
from checks.core import Failed, check, expect, expect_status
from checks.walking import expect_refusal, expect_walk, walk
from checks.words import asked, came
from shared.addresses import ISSUER, RESOURCE

WELL_KNOWN = "/.well-known/oauth-protected-resource"


def challenge(answer: httpx2.Response) -> str:
    return answer.headers.get("www-authenticate", "")


def document(world: World) -> dict:
    """The metadata, at either of its two places."""
    for path in (f"{WELL_KNOWN}/mcp", WELL_KNOWN):
        if (answer := world.mcp.get(path)).status_code == 200:
            return json_object(answer)
    raise Failed(f"There is no metadata: {asked(answer)} answered {came(answer)}.")


# ── the MCP server ────────────────────────────────────────────────────────────────────────────────


@check(
    "01",
    "Whoever comes without a token is refused, whatever they ask.",
    section="OAuth 2.1 §5.3",
    rule="who_is_it",
    file="bearer.py",
    hints=(
        "The guard stands before the MCP app and asks `who_is_it` first.",
        "While no server makes tokens, `who_is_it` lets nobody in: it raises `Refused` with status 401.",
    ),
)
def nobody_gets_in(world: World) -> None:
    expect_status(world.mcp.post("/mcp", json=LIST_TOOLS, headers=MCP_HEADERS), 401)
    for method in ("GET", "DELETE"):
        expect_status(world.mcp.request(method, "/mcp"), 401)


@check(
    "01",
    "The refusal carries a Bearer challenge that says where the metadata is.",
    section="RFC 9728 §5.1",
    rule="no_token",
    file="bearer.py",
    hints=(
        "Look at the `WWW-Authenticate` header of the refusal, in the function that makes it.",
        "The challenge needs a parameter `resource_metadata` in quotes: the https or http address of the document "
        "under `/.well-known/oauth-protected-resource`, with the path of the MCP server behind it.",
    ),
)
def says_where(world: World) -> None:
    answer = world.mcp.post("/mcp", json=LIST_TOOLS, headers=MCP_HEADERS)
    origin = world.resource.removesuffix("/mcp")
    named = (f'resource_metadata="{origin}{path}"' for path in (f"{WELL_KNOWN}/mcp", WELL_KNOWN))
    told = challenge(answer)
    expect(told.startswith("Bearer ") and any(one in told for one in named), f"The challenge was: {told or 'none'}.")


@check(
    "01",
    "Nothing was wrong yet, so the challenge names no error.",
    section="OAuth 2.1 §5.3.2",
    rule="no_token",
    file="bearer.py",
    hints=(
        "A request without a token is not a request with a bad one. Compare the two in OAuth 2.1 §5.3.2.",
        "Leave the parameter `error` out of the challenge for those who showed no token at all.",
    ),
)
def names_no_error(world: World) -> None:
    told = challenge(world.mcp.post("/mcp", json=LIST_TOOLS, headers=MCP_HEADERS))
    expect(told and "error" not in told, f"The challenge was: {told or 'none'}.")


def stands_at(world: World, path: str) -> None:
    answer = world.mcp.get(path)
    expect_status(answer, 200)
    kind = answer.headers.get("content-type", "")
    expect(kind.startswith("application/json"), f"{asked(answer)} answered with {kind or 'no content type'}.")
    expect("resource" in json_object(answer), f"The document at {path} says of no resource that it is about it.")


@check(
    "01",
    "The metadata stands where its name and the path of the MCP server meet.",
    section="RFC 9728 §3.1",
    rule="app",
    file="mcp_server.py",
    hints=(
        "Look at the routes of the app: which addresses answer without a token?",
        "The well-known name goes between host and path: `/.well-known/oauth-protected-resource/mcp`.",
    ),
)
def under_the_path(world: World) -> None:
    stands_at(world, f"{WELL_KNOWN}/mcp")


@check(
    "01",
    "It stands at the root too, the last place where a client looks.",
    section="MCP 2026-07-28, authorization server discovery",
    rule="app",
    file="mcp_server.py",
    hints=(
        "Look at the routes of the app once more: one document, two places.",
        "The second place is the well-known name alone, with no path behind it.",
    ),
)
def at_the_root(world: World) -> None:
    stands_at(world, WELL_KNOWN)


@check(
    "01",
    "The metadata is about exactly the address that was asked.",
    section="RFC 9728 §3.3",
    rule="resource_metadata",
    file="mcp_server.py",
    hints=(
        "Compare `resource` in the document with the address of the MCP server, character by character.",
        "Use the one string that everybody uses, `RESOURCE`, and add nothing to it: no slash, no capital letter.",
    ),
)
def about_itself(world: World) -> None:
    found = document(world).get("resource")
    expect(found == world.resource, f"The metadata is about {found!r}, not {world.resource}.")


@check(
    "01",
    "It names who makes tokens for this server.",
    section="RFC 9728 §2",
    rule="resource_metadata",
    file="mcp_server.py",
    hints=(
        "A client that has read the document must know where to go next.",
        "`authorization_servers` is a list of issuers, and ours is the one entry in it.",
    ),
)
def names_the_issuer(world: World) -> None:
    found = document(world).get("authorization_servers")
    expect(found == [world.issuer], f"authorization_servers was {found!r}, not {[world.issuer]!r}.")


# ── the client ────────────────────────────────────────────────────────────────────────────────────


@check(
    "01",
    "The client reads the challenge, quoted or not, alone or among others.",
    section="RFC 9110 §11.6.1",
    rule="bearer_challenge",
    file="discovery.py",
    hints=(
        "A header may hold several challenges, and each has parameters of its own. Only one of them is for us.",
        "A scheme is a word without `=`; what follows belongs to it, up to the next such word. Take the parameters "
        "of `bearer`, in whatever case it is written, and the value with or without quotes.",
    ),
)
def reads_the_challenge(world: World) -> None:
    elsewhere = RESOURCE.removesuffix("/mcp") + "/about-us"
    for told in (
        f'Bearer realm="mcp", resource_metadata="{elsewhere}"',
        f"bearer resource_metadata={elsewhere}",
        f'Basic realm="a, b", Bearer resource_metadata="{elsewhere}", Digest realm=c',
    ):
        net = honest_net().at(RESOURCE, {}, 401, **{"WWW-Authenticate": told}).at(PRM_URL, {}, 404).at(elsewhere, PRM)
        found = walk(world, net)
        expect(found.went_to(elsewhere), f"The client was told {told!r}, and did not go there. {found.ending()}")


@check(
    "01",
    "Told no address, it looks under the path and then at the root.",
    section="RFC 9728 §3.1",
    rule="resource_metadata_urls",
    file="discovery.py",
    hints=(
        "What does the client do when the challenge names no `resource_metadata`?",
        "There are two well-known places, in order: the name with the path of the MCP server behind it, then the "
        "name alone. The second is asked only if the first answers 404.",
    ),
)
def looks_in_order(world: World) -> None:
    places = [PRM_URL, PRM_URL.removesuffix("/mcp")]
    for place in places:
        net = honest_net().at(RESOURCE, {}, 401, **{"WWW-Authenticate": "Bearer"}).at(PRM_URL, {}, 404).at(place, PRM)
        found = walk(world, net)
        wanted = places[: places.index(place) + 1]
        looked = [url for url in net.urls() if WELL_KNOWN in url]
        expect(looked == wanted, f"The client looked at {' and '.join(looked) or 'neither place'}. {found.ending()}")


@check(
    "01",
    "It refuses metadata that is about another server.",
    section="RFC 9728 §3.3",
    rule="describes_this_resource",
    file="discovery.py",
    hints=(
        "Which rules are in `RESOURCE_METADATA_RULES`, and who runs them?",
        "Compare `resource` in the document with the address that the client asked, as text, before anything in it "
        "is used; if they differ, stop with a sentence.",
    ),
)
def refuses_another_resource(world: World) -> None:
    expect_walk(world)
    for other in (f"{RESOURCE}/", f"{EVIL}/mcp", None):
        expect_refusal(world, honest_net().at(PRM_URL, PRM | {"resource": other}), before=ISSUER)


@check(
    "01",
    "It guesses no authorization server where none is named.",
    section="MCP 2026-07-28, authorization server discovery",
    rule="names_authorization_servers",
    file="discovery.py",
    hints=(
        "What if the list is empty, is missing, or is no list?",
        "A rule of its own says that `authorization_servers` must be a list with at least one text in it.",
    ),
)
def guesses_nobody(world: World) -> None:
    expect_walk(world)
    for servers in ([], None, ISSUER):
        expect_refusal(world, honest_net().at(PRM_URL, PRM | {"authorization_servers": servers}), before=ISSUER)
