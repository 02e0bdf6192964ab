"""Clients whose name is a URL: what is fetched, from where, how much of it, and what of it is believed."""

import asyncio
import ipaddress
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.utils import formatdate

import pytest
import trustme

from attacks.site import Site
from auth_server import client_documents, fetching
from auth_server.client_documents import Documents, age_limit
from auth_server.context import OAuthError
from auth_server.fetching import CannotFetch, Fetched, Fetcher, Unreachable, checked
from auth_server.settings import Settings
from auth_server.storage import Client

URL = "https://app.example/client.json"
DOCUMENT = {"client_id": URL, "client_name": "An app", "redirect_uris": ["http://127.0.0.1/callback"]}
JSON = {"content-type": "application/json"}
SETTINGS = Settings()
HERE = replace(SETTINGS, loopback_documents=True)


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


class Shelf:
    """A fetch that needs no network; it counts who asks."""

    def __init__(self, document: dict | bytes = DOCUMENT, **headers: str):
        import json

        self.body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.headers, self.asked = JSON | headers, []

    async def __call__(self, url: str, loopback_only: bool) -> Fetched:
        self.asked.append(url)
        await asyncio.sleep(0)
        return Fetched(self.headers, self.body)


def found(documents: Documents, url: str = URL, asker: str = "203.0.113.1") -> Client | None:
    return asyncio.run(documents.client(url, asker))


def refused(documents: Documents, url: str = URL, error: str = "invalid_client", status: int = 400) -> str:
    with pytest.raises(OAuthError) as no:
        found(documents, url)
    assert (no.value.error, no.value.status) == (error, status)
    return no.value.why


def away(documents: Documents, url: str = URL) -> str:
    return refused(documents, url, "temporarily_unavailable", 503)


def resolving_to(*addresses: str) -> Fetcher:
    return Fetcher(lambda host, port: list(addresses))


# ── which URLs ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "url",
    [
        "http://app.example/client.json",
        "https://app.example",
        "https://app.example/",
        "https://app.example/?doc=1",
        "https://app.example/client.json#top",
        "https://user@app.example/client.json",
        "https://user:password@app.example/client.json",
        "https://app.example/a/../client.json",
        "https://app.example/./client.json",
        "https://app.example/a/%2e%2E/client.json",
        "https://93.184.216.34/client.json",
        "https://[2606:4700::1]/client.json",
        "https://2130706433/client.json",
        "https://0x7f.1/client.json",
        "https://127.1/client.json",
        "https://127.0.0.1./client.json",
        "https://app.example\\@evil.example/client.json",
        "https://app.example/cli ent.json",
        "https://app.example/client.json\n",
        "https://app.example:0/client.json",
        "https://app.example:99999/client.json",
        "https:///client.json",
        "https://[/client.json",
        "https://app.example/" + "a" * 500,
        "https://äpp.example/client.json",
    ],
)
def test_a_url_that_names_nobody_is_an_unknown_client_and_is_not_fetched(url: str) -> None:
    shelf = Shelf()
    assert found(Documents(SETTINGS, shelf), url) is None
    assert shelf.asked == []


@pytest.mark.parametrize("url", [URL, "https://app.example:8443/c?v=2", "https://app.example/~me/a%20b"])
def test_an_https_url_with_a_path_is_a_client(url: str) -> None:
    client = found(Documents(SETTINGS, Shelf(DOCUMENT | {"client_id": url})), url)
    assert client.client_id == url and client.kind == "document" and client.secret_hash is None
    assert client.registered == {
        "client_name": "An app",
        "redirect_uris": ["http://127.0.0.1/callback"],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code"],
    }


def test_a_url_is_nobody_where_documents_are_switched_off() -> None:
    shelf = Shelf()
    assert found(Documents(replace(SETTINGS, client_metadata_documents=False), shelf)) is None
    assert shelf.asked == []


def test_this_computer_is_for_development_only(site: Site) -> None:
    url = site.origin + "/client.json"
    site.at("/client.json", DOCUMENT | {"client_id": url})
    assert found(Documents(SETTINGS), url) is None
    assert site.visits == 0
    assert found(Documents(HERE), url).client_id == url


def test_the_loopback_allowance_reaches_nothing_but_this_computer() -> None:
    assert found(Documents(HERE, Shelf()), "http://app.example/client.json") is None
    assert found(Documents(HERE, Shelf()), "http://10.0.0.1/client.json") is None
    documents = Documents(HERE, resolving_to("10.0.0.1"))
    assert "an address that we do not go to" in refused(documents, "http://localhost:9299/client.json")


# ── where it is fetched ───────────────────────────────────────────────────────────────────────────

SPECIAL = """127.0.0.1 127.255.255.254 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 192.0.0.9
192.0.2.1 192.88.99.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 240.0.0.1 255.255.255.255 ::1 :: fe80::1
fe80::1%eth0 fc00::1 fd12::1 fec0::1 ff02::1 ff0e::1 2001:db8::1 2001::1 2002:7f00:1:: 100::1 3fff::1 5f00::1
::ffff:127.0.0.1 ::ffff:10.0.0.1 ::127.0.0.1 64:ff9b::7f00:1 64:ff9b::a00:1 64:ff9b:1::1""".split()


@pytest.mark.parametrize("address", SPECIAL)
def test_a_special_address_is_never_gone_to(address: str) -> None:
    with pytest.raises(CannotFetch, match="an address that we do not go to"):
        checked([address], False)
    with pytest.raises(CannotFetch):
        checked(["93.184.216.34", address], False)  # nor if another one of the same name is fine


@pytest.mark.parametrize("address", "93.184.216.34 2606:4700::1".split())
def test_a_public_address_is_gone_to(address: str) -> None:
    assert checked([address, address], False) == [str(ipaddress.ip_address(address))]


@pytest.mark.parametrize("host", ["localhost", "rebound.example"])
def test_a_name_for_this_computer_gets_nobody_in(site: Site, host: str) -> None:
    """No name server is needed for the first; that of the second lies."""
    port = site.origin.rpartition(":")[2]
    fetcher = resolving_to("127.0.0.1") if host == "rebound.example" else Fetcher()
    assert "do not go to" in refused(Documents(SETTINGS, fetcher), f"https://{host}:{port}/client.json")
    assert site.visits == 0


def test_the_name_is_looked_up_once_and_the_checked_address_is_the_one_we_connect_to(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between check and use nobody asks the name server again: the second answer would be another one."""
    answers = iter([["127.0.0.1"]])
    monkeypatch.setattr(fetching, "ADDRESS_RULES", (lambda address, loopback_only: str(address) == "127.0.0.1",))
    port = site.origin.rpartition(":")[2]
    site.at("/c", {"hello": "there"})
    seen = []
    site.server.RequestHandlerClass.log_request = lambda visitor, *_: seen.append(visitor.headers["Host"])
    fetched = asyncio.run(Fetcher(lambda host, port: next(answers))(f"http://app.example:{port}/c"))
    assert b"hello" in fetched.body
    assert seen == [f"app.example:{port}"], "the site is asked for by its own name"


@pytest.mark.parametrize(("host", "reached"), [("localhost", True), ("app.example", False)])
def test_the_certificate_must_be_for_the_name_whatever_the_address(
    monkeypatch: pytest.MonkeyPatch, host: str, reached: bool
) -> None:
    authority = trustme.CA()
    here, there = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.configure_trust(here)
    authority.issue_cert("localhost").configure_cert(there)
    monkeypatch.setattr(fetching, "certificates", lambda: here)
    with Site() as site:
        site.server.socket = there.wrap_socket(site.server.socket, server_side=True)
        url = f"https://{host}:{site.origin.rpartition(':')[2]}/client.json"
        site.at("/client.json", DOCUMENT | {"client_id": url})
        fetcher = resolving_to("127.0.0.1")
        if reached:
            assert b"An app" in asyncio.run(fetcher(url, True)).body
        else:
            with pytest.raises(CannotFetch, match="cannot be reached"):
                asyncio.run(fetcher(url, True))


def test_a_name_that_no_name_server_knows_is_a_sentence() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise OSError("no such host")

    assert "its host cannot be reached" in away(Documents(SETTINGS, Fetcher(unknown)))


def test_a_name_server_that_never_answers_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "TIME_LIMIT", 0.2)
    patience = threading.Event()
    with pytest.raises(CannotFetch, match="seconds"):
        asyncio.run(timely(Fetcher(lambda host, port: patience.wait(5) and []), patience))


async def timely(fetcher: Fetcher, patience: threading.Event) -> None:
    try:
        await fetcher(URL)
    finally:
        patience.set()  # the thread may go


# ── what is fetched ───────────────────────────────────────────────────────────────────────────────


def at_home(site: Site, path: str = "/client.json", **changes: object) -> dict:
    return DOCUMENT | {"client_id": site.origin + path} | changes


@pytest.mark.parametrize("status", [201, 204, 301, 302, 307, 401, 404])
def test_only_200_will_do_and_no_redirect_is_followed(site: Site, status: int) -> None:
    inside = site.at("/inside", at_home(site))
    url = site.at("/client.json", at_home(site), status=status, Location=inside)
    assert f"its status was {status}" in refused(Documents(HERE), url)
    assert site.visits == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_site_in_trouble_says_nothing_about_its_document(site: Site, status: int) -> None:
    url = site.at("/client.json", at_home(site), status=status)
    assert f"its status was {status}" in away(Documents(HERE), url)


@pytest.mark.parametrize("kind", ["text/html", "text/plain", "application/javascript", "image/png", ""])
def test_it_must_be_json(site: Site, kind: str) -> None:
    url = site.at("/client.json", at_home(site), **{"Content-Type": kind})
    assert "not application/json" in refused(Documents(HERE), url)


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/vnd.client+json", "Application/JSON"])
def test_json_has_several_names(site: Site, kind: str) -> None:
    assert found(Documents(HERE), site.at("/client.json", at_home(site), **{"Content-Type": kind}))


def test_ten_megabytes_are_not_read(site: Site) -> None:
    url = site.at("/client.json", b" " * 10_000_000)
    assert "more than 5120 bytes" in refused(Documents(HERE), url)


def test_nothing_is_unpacked(site: Site) -> None:
    url = site.at("/client.json", b"\x1f\x8b bomb", **{"Content-Encoding": "gzip"})
    assert "compressed" in refused(Documents(HERE), url)


def test_a_byte_now_and_then_is_too_slow(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "TIME_LIMIT", 0.3)
    url = site.at("/client.json", at_home(site), pause=0.05)
    assert "it took more than 0.3 seconds" in away(Documents(HERE), url)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 5000, b'"text"'])
def test_what_is_no_json_object_is_a_sentence(body: bytes) -> None:
    assert "not a JSON object" in refused(Documents(SETTINGS, Shelf(body)))


RSA_KEY = {"kty": "oct", "kid": "1", "alg": "HS256", "k": "c2VjcmV0"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"client_id": "https://app.example/other.json"}, "not its own URL"),
        ({"client_id": None}, "not its own URL"),
        ({"redirect_uris": None}, "short list"),
        ({"redirect_uris": "http://127.0.0.1/callback"}, "short list"),
        ({"redirect_uris": [1]}, "short list"),
        ({"redirect_uris": ["https://a.example/"] * 11}, "short list"),
        ({"redirect_uris": []}, "redirect_uris: https"),
        ({"redirect_uris": ["http://evil.example/cb"]}, "redirect_uris: https"),
        ({"redirect_uris": ["https://app.example/cb#x"]}, "redirect_uris: https"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "redirect_uris: https"),
        ({"client_name": None}, "printable text"),
        ({"client_name": " "}, "client_name is missing"),
        ({"client_name": "a" * 3000}, "printable text"),
        ({"client_name": "\x1b[31mred"}, "printable text"),
        ({"scope": ["mcp:tools:sentiment"]}, "printable text"),
        ({"client_secret": "known to all"}, "no client_secret"),
        ({"client_secret_expires_at": 0}, "no client_secret"),
        ({"token_endpoint_auth_method": "client_secret_basic"}, "no client_secret"),
        ({"token_endpoint_auth_method": "client_secret_jwt"}, "no client_secret"),
        ({"token_endpoint_auth_method": ["none"]}, "no client_secret"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "public keys"),
        ({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://app.example/jwks"}, "public keys"),
        ({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [RSA_KEY]}}, "public keys"),
        ({"grant_types": ["client_credentials"]}, "only grant type authorization_code"),
        ({"grant_types": None}, "short list"),
        ({"response_types": ["token"]}, "only grant type authorization_code"),
    ],
)
def test_a_document_keeps_the_rules_or_is_not_used(changes: dict, why: str) -> None:
    shelf = Shelf(DOCUMENT | changes)
    documents = Documents(SETTINGS, shelf)
    assert why in refused(documents)
    refused(documents)
    assert len(shelf.asked) == 2, "what was refused is not kept"


def test_what_we_do_not_know_is_ignored() -> None:
    more = {
        "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
        "logo_uri": "http://10.0.0.1/",
    }
    client = found(Documents(SETTINGS, Shelf(DOCUMENT | more | {"scope": "mcp:tools:sentiment"})))
    assert client.registered["grant_types"] == ["authorization_code", "refresh_token"]
    assert client.registered["scope"] == "mcp:tools:sentiment"
    assert "logo_uri" not in client.registered


# ── how long it is kept ───────────────────────────────────────────────────────────────────────────

HOUR = {"date": formatdate(0, usegmt=True), "expires": formatdate(3600, usegmt=True)}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 300),
        ({"cache-control": "max-age=60"}, 60),
        ({"cache-control": 'max-age="60"'}, 60),
        ({"cache-control": "max-age=99999999"}, 86_400),
        ({"cache-control": "max-age=-1"}, 60),
        ({"cache-control": "max-age=0, must-revalidate"}, 60),
        ({"cache-control": "max-age=soon"}, 60),
        ({"cache-control": "no-store"}, 60),
        ({"cache-control": "max-age=600, No-Cache"}, 60),
        ({"cache-control": "private, max-age=600"}, 60),
        (HOUR, 3600),
        (HOUR | {"cache-control": "max-age=60"}, 60),
        ({"expires": "0", "date": HOUR["date"]}, 60),
        ({"expires": HOUR["expires"]}, 60),
        ({"cache-control": "public"}, 300),
    ],
)
def test_its_server_says_how_long_within_our_limits(headers: dict, seconds: int) -> None:
    assert age_limit(headers) == seconds


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(client_documents, "time", type("Clock", (), {"time": lambda: now[0]}))
    return now


def test_it_is_fetched_once_for_as_long_as_it_is_fresh(now: list[float]) -> None:
    shelf = Shelf(**{"cache-control": "max-age=60"})
    documents = Documents(SETTINGS, shelf)
    assert found(documents) == found(documents)
    now[0] += 59
    found(documents)
    assert len(shelf.asked) == 1
    now[0] += 1
    found(documents)
    assert len(shelf.asked) == 2


class Outage(Shelf):
    """A site that can stop answering."""

    is_there = True

    async def __call__(self, url: str, loopback_only: bool) -> Fetched:
        answer = await super().__call__(url, loopback_only)
        if not self.is_there:
            raise Unreachable("its host cannot be reached")
        return answer


def test_while_nobody_answers_there_the_last_good_one_counts_for_an_hour(now: list[float]) -> None:
    shelf = Outage()
    documents = Documents(SETTINGS, shelf)
    known, shelf.is_there = found(documents), False
    now[0] += 300 + 3599
    assert found(documents) == found(documents) == known
    assert len(shelf.asked) == 2, "and is not looked for again at once"
    now[0] += 60
    away(documents)
    shelf.is_there = True
    assert found(documents) == known


def test_a_document_that_is_wrong_now_does_not_count_any_more(now: list[float]) -> None:
    shelf = Shelf()
    documents = Documents(SETTINGS, shelf)
    found(documents)
    now[0] += 300
    shelf.body = b"{}"
    refused(documents)
    refused(documents)
    assert len(shelf.asked) == 3 and not documents.kept


def test_while_it_is_looked_for_again_others_do_not_wait_or_look_too(now: list[float]) -> None:
    shelf = Shelf()
    documents = Documents(SETTINGS, shelf)
    known = found(documents)
    now[0] += 300

    async def at_once() -> list[Client]:
        return await asyncio.gather(*(documents.client(URL, str(number)) for number in range(10)))

    assert asyncio.run(at_once()) == [known] * 10
    assert len(shelf.asked) == 2


def test_errors_are_never_kept(site: Site) -> None:
    documents = Documents(HERE)
    url = site.origin + "/client.json"
    refused(documents, url)
    site.at("/client.json", at_home(site))
    assert found(documents, url)


def test_the_number_of_those_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_documents, "MOST_KEPT", 2)
    shelf = Shelf()
    documents = Documents(SETTINGS, shelf)
    for name in "abc":
        shelf.body = Shelf(DOCUMENT | {"client_id": f"https://app.example/{name}"}).body
        found(documents, f"https://app.example/{name}")
    assert list(documents.kept) == ["https://app.example/b", "https://app.example/c"]


def too_many(documents: Documents, urls: Callable[[int], str], limit: int) -> None:
    for number in range(limit):
        refused(documents, urls(number))
    with pytest.raises(OAuthError) as no:
        found(documents, urls(limit))
    assert (no.value.error, no.value.status) == ("temporarily_unavailable", 503)
    assert 0 < no.value.retry_after <= 61


def test_we_are_not_used_to_flood_a_host() -> None:
    documents = Documents(SETTINGS, Shelf(b"{}"))
    too_many(documents, lambda number: f"https://app.example/{number}", client_documents.FETCHES)
    refused(documents, "https://other.example/0")  # others go on


def test_whoever_makes_up_documents_of_a_host_locks_out_nobody_else(now: list[float]) -> None:
    shelf = Shelf()
    documents = Documents(SETTINGS, shelf)
    found(documents)
    too_many(documents, lambda number: f"https://app.example/{number}", client_documents.FETCHES - 1)
    now[0] += 300
    assert found(documents), "what is known is renewed"
    documents.kept.clear()
    assert found(documents, asker="203.0.113.2"), "and others have an account of their own"


# ── every rule is needed ──────────────────────────────────────────────────────────────────────────

ODD_URL = {
    "plain_url": "https://app.example/client json",
    "https_or_here": "http://app.example/client.json",
    "has_a_path": "https://app.example/",
    "no_fragment": "https://app.example/client.json#top",
    "no_userinfo": "https://user@app.example/client.json",
    "no_dot_segments": "https://app.example/a/../client.json",
    "no_ip_literal": "https://0x7f.1/client.json",
}
ODD_DOCUMENT = {
    "names_itself": {"client_id": "https://app.example/other.json"},
    "has_a_name": {"client_name": ""},
    "shares_no_secret": {"token_endpoint_auth_method": "client_secret_basic"},
}
ODD_ANSWER = {
    "plain_success": (404, {"content-type": "application/json"}),
    "json_type": (200, {"content-type": "text/html"}),
    "as_it_is": (200, {"content-type": "application/json", "content-encoding": "gzip"}),
}
ODD_ADDRESS = {"public_address": ("10.0.0.1", False), "this_computer": ("93.184.216.34", True)}


def without(monkeypatch: pytest.MonkeyPatch, module: object, policy: str, name: str) -> None:
    rules = getattr(module, policy)
    assert name in [rule.__name__ for rule in rules]
    monkeypatch.setattr(module, policy, tuple(rule for rule in rules if rule.__name__ != name))


def names(rules: tuple) -> list[str]:
    return [rule.__name__ for rule in rules]


@pytest.mark.parametrize("name", names(client_documents.URL_RULES))
def test_without_its_rule_an_odd_url_is_a_client(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    documents = Documents(SETTINGS, Shelf(DOCUMENT | {"client_id": ODD_URL[name]}))
    assert found(documents, ODD_URL[name]) is None
    without(monkeypatch, client_documents, "URL_RULES", name)
    assert found(documents, ODD_URL[name])


@pytest.mark.parametrize("name", names(client_documents.DOCUMENT_RULES))
def test_without_its_rule_an_odd_document_is_believed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    documents = Documents(SETTINGS, Shelf(DOCUMENT | ODD_DOCUMENT[name]))
    refused(documents)
    without(monkeypatch, client_documents, "DOCUMENT_RULES", name)
    assert found(documents)


@pytest.mark.parametrize("name", names(fetching.ANSWER_RULES))
def test_without_its_rule_an_odd_answer_is_read(site: Site, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    status, headers = ODD_ANSWER[name]
    named = {header.title(): value for header, value in headers.items()}
    url = site.at("/client.json", at_home(site), status=status, **named)
    refused(Documents(HERE), url)
    without(monkeypatch, fetching, "ANSWER_RULES", name)
    assert found(Documents(HERE), url)


@pytest.mark.parametrize("name", names(fetching.ADDRESS_RULES))
def test_without_its_rule_an_odd_address_is_gone_to(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    address, loopback_only = ODD_ADDRESS[name]
    with pytest.raises(CannotFetch):
        checked([address], loopback_only)
    without(monkeypatch, fetching, "ADDRESS_RULES", name)
    assert checked([address], loopback_only) == [address]
