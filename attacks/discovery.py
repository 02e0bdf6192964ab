"""Group J: documents that lie to the client about who is who and where to go."""

import httpx2

from attacks.core import Verdict, as_specified, attack, got_in, json_object, otherwise, worst
from attacks.hostile import (
    EVIL,
    PRM,
    PRM_URL,
    Net,
    evil_net,
    honest_net,
    metadata,
    metadata_url,
    overheard,
    stopped_with,
    walk,
)
from attacks.world import InProcess, World
from shared.addresses import ISSUER, RESOURCE

INSIDE = "http://169.254.169.254"
SECRET = "what only this computer can read"
ELSEWHERE = "https://tokens.example/token"
TENANT = "https://as.example/tenant1"
DANGEROUS = (
    "javascript:alert(1)//",
    "JavaScript://evil.example/%0aalert(1)",
    "file:///etc/passwd",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox(1)",
    "ssh://-oProxyCommand=calc/",
    "--flag",
    "//evil.example/authorize",
    "http://evil.example/authorize",
    "http://localhost.evil.example/authorize",
    "http://127.0.0.1.evil.example/authorize",
    "http://localhost:9000@evil.example/authorize",
)


@attack("ATK-164", "AS metadata issuer mismatch", "RFC 8414 §3.3", "C", stopped_from="04")
def issuer_mismatch(world: World) -> Verdict:
    """The attacker's document says that it is the honest server."""
    net = evil_net(issuer=ISSUER)
    words = walk(world, net)
    if net.visited or f"{EVIL}/register" in net.urls():
        return got_in("the client went on with a document about somebody else")
    return stopped_with(words)


@attack("ATK-166", "PRM pointing inside the network", "RFC 9728 §7.7", "C", stopped_from="07")
def inside_the_network(world: World) -> Verdict:
    """Any document can name an address that the attacker cannot reach, and the client can."""
    challenge = {"WWW-Authenticate": f'Bearer resource_metadata="{INSIDE}/latest"'}
    redirected = honest_net()
    redirected.answers[PRM_URL] = httpx2.Response(302, headers={"Location": f"{INSIDE}/latest"})
    nets = [
        honest_net().at(RESOURCE, {}, 401, **challenge),
        redirected,
        honest_net().at(PRM_URL, PRM | {"authorization_servers": [INSIDE]}),
        honest_net().at(metadata_url(), metadata(registration_endpoint=f"{INSIDE}/latest")),
        honest_net().at(metadata_url(), metadata(token_endpoint=f"{INSIDE}/latest")),
    ]
    return worst(*(led_inside(world, net) for net in nets))


def led_inside(world: World, net: Net) -> Verdict:
    net.answers[f"{INSIDE}/latest"] = httpx2.Response(200, text=SECRET)
    words = walk(world, net)
    if asked := [url for url in net.urls() if url.startswith(INSIDE)]:
        return got_in(f"the client asked {asked[0]}")
    return stopped_with(words)


@attack("ATK-167", "Dangerous authorization_endpoint", "MCP OAuth URL Validation", "C", stopped_from="07")
def dangerous_endpoint(world: World) -> Verdict:
    """Only https may be opened, or http on this computer; and a code is told to nobody else either."""
    plain = honest_net().at(metadata_url(), metadata(token_endpoint="http://evil.example/token"))
    words = walk(world, plain)
    told = got_in("the code went out in plain text") if plain.was_told("the code") else stopped_with(words)
    return worst(*(opened(world, endpoint) for endpoint in DANGEROUS), told)


def opened(world: World, endpoint: str) -> Verdict:
    net = honest_net().at(metadata_url(), metadata(authorization_endpoint=endpoint))
    words = walk(world, net)
    return got_in(f"opened {endpoint}") if net.visited else stopped_with(words)


@attack("ATK-169", "Cross-origin endpoints", "RFC 9700 §4.4", "C", stopped_from="04")
def cross_origin_endpoints(world: World) -> Verdict:
    """A server may keep its token endpoint elsewhere. One that names none, or borrows a page, gets no code."""
    honest = honest_net().at(metadata_url(), metadata(token_endpoint=ELSEWHERE))
    honest.answers[ELSEWHERE] = honest.answers[f"{ISSUER}/token"]
    with overheard() as said:
        words = walk(world, honest)
    mixed = evil_net(authorization_endpoint=f"{ISSUER}/authorize")
    stopped = walk(world, mixed)
    if mixed.was_told("the code"):
        return got_in("the honest server's code went to the attacker")
    if words or ELSEWHERE not in said[0]:
        return otherwise(words or "the client did not say where the code went")
    silent = (honest_net().at(metadata_url(), metadata(token_endpoint=endpoint)) for endpoint in (None, 5))
    return worst(stopped_with(stopped), *(stopped_with(walk(world, net)) for net in silent))


@attack("ATK-170", "Root metadata for a path issuer", "RFC 8414 §3.1", "C", stopped_from="04")
def root_metadata(world: World) -> Verdict:
    """The root of a shared host belongs to another tenant; and so does what stands there, wherever it is served."""
    root = honest_net().at(PRM_URL, PRM | {"authorization_servers": [TENANT]})
    root.at(metadata_url("https://as.example"), metadata(TENANT))
    words = walk(world, root)
    asked = [url for url in root.urls() if url.startswith("https://as.example")]
    if root.visited or metadata_url("https://as.example") in asked:
        return got_in("the client believed the root")
    if len(asked) != 3:
        return worst(stopped_with(words), otherwise(f"the client asked {len(asked)} places, not three"))
    copied = honest_net().at(PRM_URL, PRM | {"authorization_servers": [TENANT]})
    copied.at(metadata_url("https://as.example") + "/tenant1", metadata("https://as.example"))
    copied.at("https://as.example/register", {"client_id": "c-2"}, 201)
    believed = walk(world, copied)
    if copied.visited:
        return got_in("the client believed the copy")
    return worst(stopped_with(words), stopped_with(believed))


@attack("ATK-172", "Empty or doubtful PRM", "RFC 9728 §3.2, §3.3", "C", stopped_from="04")
def doubtful_document(world: World) -> Verdict:
    """No server is guessed, no other place is tried; only where nothing stands at all, the next place may."""
    documents = [PRM | {"authorization_servers": servers} for servers in ([], None, [5], {}, ISSUER)]
    documents += [PRM | {"resource": resource} for resource in (f"{EVIL}/mcp", f"{RESOURCE}/", [RESOURCE], None)]
    answers = [httpx2.Response(200, json=document) for document in (*documents, {"resource": RESOURCE}, [], None)]
    answers += [httpx2.Response(status, json=PRM) for status in (403, 500, 503)]
    answers += [httpx2.Response(200, html="<h1>Welcome</h1>")]
    places = (next_place(world, named, status) for named, status in ((False, 404), (False, 500), (True, 404)))
    return worst(*(doubted(world, answer) for answer in answers), *places)


def doubted(world: World, answer: httpx2.Response) -> Verdict:
    net = honest_net()
    net.answers[PRM_URL] = answer
    words = walk(world, net)
    if net.urls() != [RESOURCE, PRM_URL]:
        return got_in(f"the client went on to {net.urls()[-1]}")
    return stopped_with(words)


def next_place(world: World, named: bool, status: int) -> Verdict:
    """The root is asked if nothing stands under the path, and the server has not said itself where to look."""
    net = honest_net().at(PRM_URL, {}, status).at(PRM_URL.removesuffix("/mcp"), PRM)
    if not named:
        net.at(RESOURCE, {}, 401, **{"WWW-Authenticate": "Bearer"})
    words = walk(world, net)
    if not named and status == 404:
        return otherwise(words) if words else as_specified("the root's document was found")
    return got_in("the client guessed another place") if net.visited else stopped_with(words)


@attack("ATK-173", "offline_access in challenge", "MCP Refresh Tokens (SEP-2207)", "C, MCP", stopped_from="04")
def offline_access(world: World) -> Verdict:
    """How long a client may stay is not the MCP server's business: it names no such scope, and we ask for none."""
    challenge = world.mcp.post("/mcp").headers.get("www-authenticate", "")
    document = json_object(world.mcp.get("/.well-known/oauth-protected-resource/mcp"))
    if "offline_access" in challenge or "offline_access" in document.get("scopes_supported", []):
        return otherwise("the MCP server asks for offline_access")
    if not isinstance(world, InProcess):
        return as_specified("the MCP server does not name it")
    net = honest_net()
    words = walk(world, net)
    if words or "offline_access" in net.visited[0]:
        return otherwise(words or "the client asks for what nobody offers")
    return as_specified()
