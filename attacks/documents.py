"""Group H, second half: clients that are known by the URL of a document about them (CIMD)."""

import contextlib
import time
from collections.abc import Iterator

import httpx2

from attacks.core import NotHere, Verdict, as_specified, attack, denied_with_page, got_in, let_in, otherwise, worst
from attacks.hostile import EVIL
from attacks.site import Site
from attacks.world import NATIVE, World


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
        for path in ("/client.json", "/", "/b/../client.json"):
            site.at(path, document(site.origin + path))
        ours = site.origin.replace("http:", "https:")
        urls = [ours, f"{ours}/", f"{ours}/client.json#x", f"{ours}/b/../client.json", f"{ours}/b/%2e%2e/client.json"]
        urls += [ours.replace("//", "//user:pass@") + "/client.json", "http://evil.example/client.json"]
        urls += ["https://10.0.0.1/client.json", "https://169.254.169.254/latest/meta-data", f"{EVIL}/\nclient.json"]
        tries = [denied_with_page(asked_for(world, url)) for url in urls]
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
        ]
        odd += [{"body": good | {"more": "x" * 10_000_000}}, {"body": good, "pause": 0.1}]
        tries, started = [], time.monotonic()
        for answer in odd:
            site.at("/client.json", **answer)
            tries.append(denied_with_page(asked_for(world, url)))
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
