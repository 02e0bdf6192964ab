"""Group H, second half: clients that are known by the URL of a document about them (CIMD)."""

import contextlib
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx2

from attacks.core import NotHere, Verdict, as_specified, attack, denied_with_page, got_in, let_in, otherwise, worst
from attacks.hostile import EVIL
from attacks.programs import Finished
from attacks.site import Site
from attacks.world import CALLBACK, NATIVE, World

SYMMETRIC = {"keys": [{"kty": "oct", "kid": "1", "alg": "RS256", "k": "c2VjcmV0"}]}
INSIDE = (
    ["127.0.0.1"],
    ["10.0.0.1"],
    ["169.254.169.254"],
    ["::1"],
    ["::ffff:127.0.0.1"],
    ["64:ff9b::7f00:1"],
    ["fd00::1"],
    ["0.0.0.0"],
    ["93.184.215.14", "127.0.0.1"],
)


def document(url: str, **changes: object) -> dict:
    return NATIVE | {"client_id": url} | changes


@contextlib.contextmanager
def documents(world: World) -> Iterator[Site]:
    """A site for documents, at an authorization server that reads them."""
    if not world.announced().get("client_id_metadata_document_supported"):
        raise NotHere("no Client ID Metadata Documents")
    with Site() as site:
        honest = site.at("/honest.json", document(f"{site.origin}/honest.json"))
        if not let_in(asked_for(world, honest)):
            raise NotHere("does not read documents from a site of ours")
        yield site


def asked_for(world: World, client_id: str) -> httpx2.Response:
    return world.auth.get("/authorize", params=world.ask(client_id))


@attack("ATK-145", "CIMD: client_id mismatch", "CIMD §4.1", "AS", stopped_from="finished")
def document_about_another(world: World) -> Verdict:
    """A document speaks for its own URL only. Once it does, it is read anew."""
    with documents(world) as site:
        url = site.origin + "/client.json"
        tries = []
        for named in (f"{site.origin}/honest.json", url + "/", url + "?", url.upper(), ""):
            site.at("/client.json", document(named))
            tries.append(denied_with_page(asked_for(world, url)))
        site.at("/client.json", document(url))
        return worst(*tries, as_specified() if let_in(asked_for(world, url)) else otherwise("the no was kept"))


@attack("ATK-146", "CIMD: bad URL", "CIMD §3", "AS", stopped_from="04")
def bad_document_urls(world: World) -> Verdict:
    """Not even fetched: the URL itself is wrong."""
    with Site() as site:
        if isinstance(world, Finished):
            world.around.looked_up.clear()
        for path in ("/client.json", "/", "/b/../client.json"):
            site.at(path, document(site.origin + path))
        ours = site.origin.replace("http:", "https:")
        urls = [ours, f"{ours}/", f"{ours}/client.json#x", f"{ours}/b/../client.json", f"{ours}/b/%2e%2e/client.json"]
        urls += [ours.replace("//", "//user:pass@") + "/client.json", "http://evil.example/client.json"]
        urls += ["https://10.0.0.1/client.json", "https://169.254.169.254/latest/meta-data", f"{EVIL}/\nclient.json"]
        urls += [f"{EVIL}/a client.json"]
        tries = [denied_with_page(asked_for(world, url)) for url in urls]
        if isinstance(world, Finished) and world.around.looked_up:
            return got_in(f"looked for {world.around.looked_up[-1]}")
        return got_in("fetched") if site.visits else worst(*tries)


@attack("ATK-148", "CIMD: redirect, slow, large", "CIMD §4, §6", "AS", stopped_from="finished")
def odd_documents(world: World) -> Verdict:
    """A good document in a bad answer. The server gives up soon, and does not remember that it did."""
    with documents(world) as site, Site() as inside:
        url = site.origin + "/client.json"
        good = document(url)
        secret = inside.at("/client.json", good)
        odd = [{"body": b"", "status": 302, "Location": secret}, {"body": b"<p>", "Content-Type": "text/html"}]
        odd += [
            {"body": good, "status": 404},
            {"body": good, "status": 203},
            {"body": good, "Content-Type": "text/html"},
            {"body": good, "Content-Encoding": "gzip"},
        ]
        odd += [{"body": good | {"more": "x" * 10_000_000}}, {"body": good, "pause": 0.1}]
        tries, started = [], time.monotonic()
        for answer in odd:
            site.at("/client.json", **answer)
            tries.append(denied_with_page(asked_for(world, url), 503 if "pause" in answer else 400))
        if inside.visits:
            return got_in("followed a redirect to a place inside")
        if time.monotonic() - started > 15:
            tries.append(otherwise("waited too long"))
        site.at("/client.json", good)
        return worst(*tries, as_specified() if let_in(asked_for(world, url)) else otherwise("the no was kept"))


@attack("ATK-149", "CIMD: shared secret in document", "CIMD §4.1", "AS", stopped_from="finished")
def published_secret(world: World) -> Verdict:
    """Everybody can read it."""
    with documents(world) as site:
        secrets = [{"token_endpoint_auth_method": f"client_secret_{way}"} for way in ("basic", "post", "jwt")]
        secrets += [{"client_secret": "a secret"}, {"client_secret_expires_at": 0}]
        urls = [f"{site.origin}/{number}.json" for number in range(len(secrets))]
        for number, changes in enumerate(secrets):
            site.at(f"/{number}.json", document(urls[number], **changes))
        return worst(*(denied_with_page(asked_for(world, url)) for url in urls))


@attack("ATK-210", "CIMD: a name that leads inside", "CIMD §6", "AS", stopped_from="finished")
def name_that_leads_inside(world: World) -> Verdict:
    """Whoever owns a name decides where it leads: to the server's own computer, or into its network."""
    with documents(world) as site:
        url = f"https://inside.example:{urlsplit(site.origin).port}/client.json"
        site.at("/client.json", document(url))
        return worst(*(led_to(world, url, addresses) for addresses in INSIDE))


@attack("ATK-211", "CIMD: a loopback that leads outside", "CIMD §6", "AS", stopped_from="finished")
def loopback_that_leads_outside(world: World) -> Verdict:
    """What may be http because it stays on this computer has to stay there, whatever a name server says."""
    with documents(world) as site:
        url = site.at("/client.json", document(f"{site.origin}/client.json"))
        outside = (["0.0.0.0"], ["10.0.0.1"], ["93.184.215.14"], ["127.0.0.1", "93.184.215.14"])
        return worst(*(led_to(world, url, addresses) for addresses in outside))


def led_to(world: World, url: str, addresses: list[str]) -> Verdict:
    """For once, our name server says that the host of this URL is there."""
    if not isinstance(world, Finished):
        raise NotHere("needs the name server that it asks")
    around, host = world.around, urlsplit(url).hostname
    usual, around.names = around.names, around.names | {host: addresses}
    around.looked_up.clear()
    around.connected_to.clear()
    answer = asked_for(world, url)
    around.names = usual
    if around.connected_to:
        return got_in(f"connected to {around.connected_to[0]}")
    return denied_with_page(answer) if host in around.looked_up else otherwise("was not even looked up")


@attack("ATK-212", "CIMD: document that nobody could register", "CIMD §4.1", "AS", stopped_from="finished")
def odd_client(world: World) -> Verdict:
    """Whoever publishes a document gets nothing that they would not get by registering."""
    signs = {"token_endpoint_auth_method": "private_key_jwt"}
    with documents(world) as site:
        odd = [{"client_name": name} for name in (None, "", " ", ["A test"], "x" * 10_000)]
        odd += [{"redirect_uris": uris} for uris in (None, [], CALLBACK, [CALLBACK] * 11)]
        odd += [{"redirect_uris": [CALLBACK, uri]} for uri in ("javascript:alert(1)", "http://evil.example/", 5)]
        odd += [signs, signs | {"jwks": SYMMETRIC}, signs | {"jwks_uri": f"{site.origin}/keys.json"}]
        odd += [{"grant_types": ["client_credentials"]}, {"grant_types": {}}, {"response_types": ["token"]}]
        urls = [f"{site.origin}/{number}.json" for number in range(len(odd))]
        for number, changes in enumerate(odd):
            about = document(urls[number], **changes)
            site.at(f"/{number}.json", {name: value for name, value in about.items() if value is not None})
        return worst(*(denied_with_page(asked_for(world, url)) for url in urls))
