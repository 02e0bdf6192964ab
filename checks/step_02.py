"""What step 02 promises: the authorization server says what it can do, and must not lie about who it is."""

from attacks.core import json_object
from attacks.hostile import EVIL, PRM, PRM_URL, Net, honest_net, metadata, metadata_url
from attacks.world import World
from checks.core import Failed, check, expect, expect_status
from checks.walking import expect_refusal, expect_walk, walk
from checks.words import asked, came
from shared.addresses import ISSUER

OAUTH, OPENID = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"
ENDPOINTS = ("authorization_endpoint", "token_endpoint")
TENANT = "https://as.example/tenant1"


def document(world: World) -> dict:
    """The metadata, at either of the places where a client looks."""
    for path in (OAUTH, OPENID):
        if (answer := world.auth.get(path)).status_code == 200:
            return json_object(answer)
    raise Failed(f"There is no metadata: {asked(answer)} answered {came(answer)}.")


def saying(**changes: object) -> Net:
    """Everybody is honest, and the metadata of the authorization server says this."""
    return honest_net().at(metadata_url(), metadata(**changes))


# ── the authorization server ──────────────────────────────────────────────────────────────────────


@check(
    "02",
    "Its metadata stands at the place that OAuth names.",
    section="RFC 8414 §3",
    rule="server_metadata",
    file="auth_server.py",
    hints=(
        "Look at the routes of the app: which address does a client ask that knows only the issuer?",
        "The place is `/.well-known/oauth-authorization-server`; the answer is a JSON object.",
    ),
)
def at_its_place(world: World) -> None:
    answer = world.auth.get(OAUTH)
    expect_status(answer, 200)
    expect("issuer" in json_object(answer), f"The document at {OAUTH} does not say whose it is.")


@check(
    "02",
    "It says exactly who it is.",
    section="RFC 8414 §3.3",
    rule="server_metadata",
    file="auth_server.py",
    hints=(
        "Compare `issuer` in the document with the address that was asked, character by character.",
        "Use the one string that everybody uses, `ISSUER`, and add nothing to it. A slash at the end is another name.",
    ),
)
def says_who_it_is(world: World) -> None:
    found = document(world).get("issuer")
    expect(found == world.issuer, f"We asked {world.issuer}, and {found!r} answered.")


@check(
    "02",
    "It says where people are asked, and where tokens are made.",
    section="RFC 8414 §2",
    rule="server_metadata",
    file="auth_server.py",
    hints=(
        "A client takes every address from this document, and puts none together itself.",
        "Name `authorization_endpoint` and `token_endpoint`, each as a whole address.",
    ),
)
def names_its_endpoints(world: World) -> None:
    found = document(world)
    for name in ENDPOINTS:
        expect(str(found.get(name)).startswith("http"), f"The {name} is {found.get(name)!r}.")


@check(
    "02",
    "What it announces is there.",
    section="RFC 8414 §2",
    rule="not_yet",
    file="auth_server.py",
    hints=(
        "Ask the addresses in the document. Is each of them a route?",
        "Until an endpoint is built, it answers 501: that is honest. A 404 says that the document lied.",
    ),
)
def answers_where_it_said(world: World) -> None:
    found = document(world)
    for name, method in zip(ENDPOINTS, ("GET", "POST")):
        if str(found.get(name)).startswith(world.issuer):
            answer = world.auth.request(method, str(found[name]))
            expect(answer.status_code not in (404, 405), f"{asked(answer)} answered {answer.status_code}.")


@check(
    "02",
    "It offers PKCE with S256, and nothing weaker.",
    section="OAuth 2.1 §7.5.2",
    rule="server_metadata",
    file="auth_server.py",
    hints=(
        "How does a client learn which kinds of proof the server understands?",
        "`code_challenge_methods_supported` is a list of one: S256. Left out, it means that there is no PKCE at all.",
    ),
)
def only_s256(world: World) -> None:
    found = document(world).get("code_challenge_methods_supported")
    expect(found == ["S256"], f"code_challenge_methods_supported was {found!r}.")


@check(
    "02",
    "It names the MCP servers that it makes tokens for.",
    section="RFC 9728 §4",
    rule="server_metadata",
    file="auth_server.py",
    hints=(
        "The MCP server names its authorization server. Who says it the other way round?",
        "`protected_resources` is a list with the address of each MCP server; the tuple `RESOURCES` has them.",
    ),
)
def names_its_resources(world: World) -> None:
    found = document(world).get("protected_resources")
    expect(isinstance(found, list) and world.resource in found, f"protected_resources was {found!r}.")


# ── the client ────────────────────────────────────────────────────────────────────────────────────


@check(
    "02",
    "The client looks where OAuth says, then where OpenID Connect does, and with a path in three places.",
    section="RFC 8414 §5",
    rule="server_metadata_urls",
    file="discovery.py",
    hints=(
        "Which addresses does the client ask, and in which order? Try an issuer with a path.",
        "OAuth's name goes between host and path, then OpenID Connect's does; if there is a path, OpenID Connect's "
        "name behind it is the third. The next is asked only after a 404.",
    ),
)
def looks_in_order(world: World) -> None:
    origin, path = TENANT.removesuffix("/tenant1"), "/tenant1"
    by_issuer = {
        ISSUER: [ISSUER + OAUTH, ISSUER + OPENID],
        TENANT: [origin + OAUTH + path, origin + OPENID + path, TENANT + OPENID],
    }
    for issuer, places in by_issuer.items():
        net = honest_net().at(PRM_URL, PRM | {"authorization_servers": [issuer]})
        net.at(metadata_url(), {}, 404).at(places[-1], metadata(issuer, token_endpoint=None))
        found = walk(world, net)
        looked = [url for url in net.urls() if OAUTH in url or OPENID in url]
        expect(looked == places, f"For {issuer} it looked at {looked}. {found.ending()}")


@check(
    "02",
    "It refuses a document in which another issuer speaks.",
    section="RFC 8414 §3.3",
    rule="same_issuer",
    file="discovery.py",
    hints=(
        "Which rules are in `SERVER_METADATA_RULES`, and who runs them?",
        "Compare `issuer` in the document with the issuer that was asked, as text; if they differ, stop with a "
        "sentence before anything else in it is used.",
    ),
)
def refuses_another_issuer(world: World) -> None:
    expect_walk(world)
    for other in (f"{ISSUER}/", EVIL, None):
        expect_end(world, saying(issuer=other))


@check(
    "02",
    "It does not start with a server that has no S256.",
    section="OAuth 2.1 §7.5.2",
    rule="offers_s256",
    file="discovery.py",
    hints=(
        "What does the client do when `code_challenge_methods_supported` is missing?",
        "A rule of its own says that it must be a list with S256 in it. A text that contains S256 is no such list.",
    ),
)
def refuses_without_pkce(world: World) -> None:
    expect_walk(world)
    for offer in (None, [], ["plain"], "S256 will come"):
        expect_end(world, saying(code_challenge_methods_supported=offer))


@check(
    "02",
    "It does not start with a server that leaves an endpoint out.",
    section="RFC 8414 §2",
    rule="names_endpoints",
    file="discovery.py",
    hints=(
        "Both endpoints will be needed. When does the client notice that one of them is not there?",
        "A rule of its own says that `authorization_endpoint` and `token_endpoint` must both be text.",
    ),
)
def refuses_without_endpoints(world: World) -> None:
    expect_walk(world)
    for name in ENDPOINTS:
        for value in (None, 5):
            expect_end(world, saying(**{name: value}))


def expect_end(world: World, net: Net) -> None:
    """The client ends here, and neither registers nor sends its user anywhere."""
    expect_refusal(world, net, before=f"{ISSUER}/register")
