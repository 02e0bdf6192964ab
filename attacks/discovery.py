"""Group J: documents that lie to the client about who is who."""

from attacks.core import Verdict, as_specified, attack, got_in, otherwise
from attacks.hostile import EVIL, PRM, PRM_URL, honest_net, metadata, walk
from attacks.world import World
from shared.addresses import ISSUER


@attack("ATK-164", "AS metadata issuer mismatch", "RFC 8414 §3.3", "C", stopped_from="04")
def issuer_mismatch(world: World) -> Verdict:
    """The attacker's document says that it is the honest server."""
    net = honest_net().at(PRM_URL, PRM | {"authorization_servers": [EVIL]})
    net.at(f"{EVIL}/.well-known/oauth-authorization-server", metadata(EVIL, issuer=ISSUER))
    stopped = walk(world, net)
    if net.visited or f"{EVIL}/register" in net.urls():
        return got_in("the client went on with a document about somebody else")
    return as_specified(stopped) if stopped else otherwise("the client did not stop")
