"""What the finished client reads more closely than those of the steps: addresses, and answers with a token."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from attacks import programs_client
from attacks.beyond import finished
from attacks.client_rows import OLD_CLIENT, OLD_TOKENS
from attacks.core import Verdict, as_specified, attack, got_in, otherwise, worst
from attacks.hostile import (
    EVIL,
    PRM,
    PRM_URL,
    TOKENS,
    Net,
    bringing,
    ended,
    honest_net,
    metadata,
    metadata_url,
    stopped_with,
    walk,
)
from attacks.world import World
from shared.addresses import ISSUER, RESOURCE

FAR = "https://mcp.example/mcp"  # an MCP server that is not on this computer
FAR_PRM_URL = "https://mcp.example/.well-known/oauth-protected-resource/mcp"
FAR_AS = "https://as.example"
SECRET = "a-secret-token"
NOBODYS = (
    "https://localhost:9000@evil.example",
    "https://localhost%3A9000:x@evil.example",
)
INSIDE = (
    "http://localhost:9000",
    "http://127.0.0.1:9000",
    "https://localhost:9000",
    "https://tools.localhost",
    "https://[::1]:9000",
    "https://127.0.0.2",
    "https://10.0.0.1",
    "https://169.254.169.254",
    "https://2130706433",
    "https://127.1",
    "https://0",
    "https://localhost.",
    "https://%6cocalhost",
)
LAN = "https://192.168.1.7/mcp"  # one that is in our own network


def far_net(**changes: object) -> Net:
    """An honest MCP server and its authorization server, both elsewhere."""
    net = Net(FAR).at(FAR, {}, 401, **{"WWW-Authenticate": f'Bearer resource_metadata="{FAR_PRM_URL}"'})
    net.at(FAR_PRM_URL, PRM | {"resource": FAR, "authorization_servers": [FAR_AS]})
    net.at(metadata_url(FAR_AS), metadata(FAR_AS, **changes)).at(f"{FAR_AS}/register", {"client_id": "c-1"}, 201)
    return net.at(f"{FAR_AS}/token", TOKENS)


def walk_far(world: World, net: Net, issuer: str = FAR_AS, keep: bool = False) -> str:
    return ended(lambda: programs_client.walk_to(FAR, world, net, [bringing(iss=issuer)], keep))


@attack("ATK-221", "Address with somebody else's name in it", "RFC 3986 §7.6", "C", stopped_from="finished")
def name_of_another(world: World) -> Verdict:
    """What stands before the @ looks like the host, and is not."""
    finished(world)
    return worst(*(verdict for address in NOBODYS for verdict in led_astray(world, address)))


def led_astray(world: World, address: str) -> Iterator[Verdict]:
    challenge = {"WWW-Authenticate": f'Bearer resource_metadata="{address}/prm"'}
    nets = [honest_net().at(RESOURCE, {}, 401, **challenge)]
    nets += [honest_net().at(PRM_URL, PRM | {"authorization_servers": [address]})]
    for name in ("authorization", "registration", "token"):
        nets.append(honest_net().at(metadata_url(), metadata(**{f"{name}_endpoint": f"{address}/{name}"})))
    for net in nets:
        words = walk(world, net)
        gone = [url for url in (*net.urls(), *net.visited) if urlsplit(url).hostname == "evil.example"]
        yield got_in(f"went to {gone[0]}") if gone else stopped_with(words)


@attack("ATK-222", "A server elsewhere that points inside", "RFC 9728 §7.7", "C", stopped_from="finished")
def points_inside(world: World) -> Verdict:
    """What it cannot reach itself, it would like us to ask, or to open in a browser that is signed in there."""
    finished(world)
    if words := walk_far(world, far_net()):
        return otherwise(f"not even the honest one: {words}")
    return worst(closer(world), *(verdict for address in INSIDE for verdict in led_home(world, address)))


def closer(world: World) -> Verdict:
    """From our own network to this computer is a way inside too."""
    challenge = {"WWW-Authenticate": 'Bearer resource_metadata="http://localhost:6379/prm"'}
    net = Net(LAN).at(LAN, {}, 401, **challenge)
    words = ended(lambda: programs_client.walk_to(LAN, world, net, []))
    return got_in("went to localhost") if "http://localhost:6379/prm" in net.urls() else stopped_with(words)


def led_home(world: World, address: str) -> Iterator[Verdict]:
    challenge = {"WWW-Authenticate": f'Bearer resource_metadata="{address}/prm"'}
    nets = [far_net().at(FAR, {}, 401, **challenge)]
    nets += [far_net().at(FAR_PRM_URL, PRM | {"resource": FAR, "authorization_servers": [address]})]
    nets += [far_net(**{f"{name}_endpoint": f"{address}/x"}) for name in ("authorization", "registration", "token")]
    for net in nets:
        words = walk_far(world, net)
        gone = [url for url in (*net.urls(), *net.visited) if url.startswith(address)]
        yield got_in(f"went to {gone[0]}") if gone else stopped_with(words)


@attack("ATK-223", "Odd token answers", "OAuth 2.1 §3.2.3", "C", stopped_from="finished")
def odd_tokens(world: World) -> Verdict:
    """A token that cannot be used as it was meant is not used at all; what is wrong is said, and not repeated."""
    finished(world)
    odd = [{"access_token": token} for token in (None, "", 5, ["a-token"], "a\r\nX-Admin: yes", "a token", "tokén")]
    odd += [{"token_type": kind} for kind in (None, "", "DPoP", "mac", 5, ["Bearer"])]
    odd += [{"expires_in": value} for value in ("600", "soon", True, 6.5, 1e300, 10**400, [], {})]
    odd += [{name: value} for name in ("scope", "refresh_token") for value in ([SECRET], {"x": SECRET}, 5)]
    return worst(*(never_shown(world, changes) for changes in odd))


def never_shown(world: World, changes: dict[str, object]) -> Verdict:
    answer = {name: value for name, value in (TOKENS | changes).items() if value is not None}
    net = honest_net().at(f"{ISSUER}/token", answer)
    words = walk(world, net)
    if any("authorization" in request.headers for request in net.asked if str(request.url) == RESOURCE):
        return got_in(f"showed a token that came with {changes}")
    if SECRET in words:
        return got_in("the terminal shows what is secret")
    return stopped_with(words)


@attack("ATK-224", "Metadata that is none", "RFC 8414 §2, §3.3", "C", stopped_from="finished")
def odd_metadata(world: World) -> Verdict:
    """All addresses in it are looked at before the first is asked; and its name has to fit letter by letter."""
    finished(world)
    names = [f"{name}_endpoint" for name in ("authorization", "token", "registration", "revocation")]
    odd = [{name: value} for name in names for value in (5, "", "/token", ["x"], f"{EVIL}:x/", "http://evil.example/x")]
    odd += [{"authorization_endpoint": None}, {"token_endpoint": None}, {"issuer": None}, {"issuer": [ISSUER]}]
    odd += [{"issuer": spelled} for spelled in (ISSUER.upper(), f"{ISSUER}/x/..", f"{ISSUER}/", f" {ISSUER}")]
    return worst(*(not_begun(world, changes) for changes in odd))


def not_begun(world: World, changes: dict[str, object]) -> Verdict:
    net = honest_net().at(metadata_url(), metadata(**changes))
    words = walk(world, net)
    if net.visited:
        return got_in(f"went on with {changes}")
    return worst(stopped_with(words), as_specified())


@attack("ATK-225", "An old server under another's name", "MCP 2025-03-26, RFC 8414 §3.3", "C", stopped_from="finished")
def old_impostor(world: World) -> Verdict:
    """It names no authorization server, because it would be its own; and then it says that it is the honest one."""
    finished(world)
    before = honest_net().at(f"{ISSUER}/register", OLD_CLIENT, 201).at(f"{ISSUER}/token", OLD_TOKENS)
    if words := walk(world, before):
        return otherwise(f"could not begin: {words}")
    origin = FAR.removesuffix("/mcp")
    net = Net(FAR).at(FAR, {}, 401, **{"WWW-Authenticate": "Bearer"})
    net.at(metadata_url(origin), metadata(origin, issuer=ISSUER)).at(f"{origin}/token", TOKENS)
    words = walk_far(world, net, issuer=ISSUER, keep=True)
    if net.visited or any(request.method == "POST" and str(request.url) != FAR for request in net.asked):
        return got_in("it was told what belongs to the honest server")
    return stopped_with(words)
