"""Group B: the authorization endpoint, and where it may send a browser."""

from html.parser import HTMLParser
from urllib.parse import urlsplit

import httpx2

from attacks.core import (
    Verdict,
    answer_in,
    as_specified,
    attack,
    denied,
    denied_at_home,
    denied_with_page,
    got_in,
    let_in,
    otherwise,
    worst,
)
from attacks.world import CALLBACK, InProcess, World
from shared.browser import waiting_for_redirect

HTTPS = "https://app.example/cb"
LOOPBACK = "http://127.0.0.1/cb"
PHISH = "https://phish.example/cb"


def asked(world: World, client_id: str, redirect_uri: str) -> httpx2.Response:
    return world.auth.get("/authorize", params=world.ask(client_id, redirect_uri=redirect_uri))


def instead_of(world: World, registered: str, *sent: str) -> Verdict:
    """What comes of asking with others than the registered redirect_uri, which itself is fine."""
    client_id = world.register(redirect_uris=[registered])["client_id"]
    if not let_in(asked(world, client_id, registered)):
        return otherwise(f"{registered} is refused too")
    return worst(*(denied_with_page(asked(world, client_id, uri)) for uri in sent))


def registering(world: World, *redirect_uris: str) -> Verdict:
    """What comes of registering each of these."""
    answers = [world.auth.post("/register", json=about(uri)) for uri in redirect_uris]
    return worst(*(denied(answer, (400, "invalid_redirect_uri")) for answer in answers))


def about(redirect_uri: str) -> dict:
    return {
        "application_type": "native",
        "redirect_uris": [redirect_uri],
        "token_endpoint_auth_method": "none",
    }


@attack("ATK-019", "Prefix, suffix, subdomain", "RFC 9700 §4.1", "AS", stopped_from="04")
def prefix_suffix_subdomain(world: World) -> Verdict:
    uris = (HTTPS + "/evil", HTTPS + "?x=evil", "https://app.example.evil/cb", "https://x.app.example/cb")
    return instead_of(world, HTTPS, *uris)


@attack("ATK-020", "Path tricks", "OAuth 2.1 §4.1.1, RFC 3986 §6.2.1", "AS", stopped_from="04")
def path_tricks(world: World) -> Verdict:
    """Compared as text: nothing is decoded or tidied up first."""
    host = "https://app.example"
    paths = ("/cb/../evil", "/cb/", "/%63b", "/cb%2f..%2fevil", "//cb", "/./cb", "/CB", "")
    return instead_of(world, HTTPS, *(host + path for path in paths), "HTTPS://app.example/cb")


@attack("ATK-022", "Added fragment", "OAuth 2.1 §2.3", "AS", stopped_from="04")
def added_fragment(world: World) -> Verdict:
    """Neither taken at /authorize nor registered."""
    uris = (HTTPS + "#x", HTTPS + "#")
    return worst(instead_of(world, HTTPS, *uris), registering(world, *uris))


@attack("ATK-023", "Userinfo and backslash confusion", "RFC 9700 §4.1", "AS", stopped_from="04")
def userinfo(world: World) -> Verdict:
    """What stands before an @ is no host, whatever it looks like."""
    remote = ("https://app.example@evil.example/cb", "https://app.example\\@evil.example/cb")
    local = ("http://127.0.0.1:3000@evil.example/", "http://127.0.0.1\\@evil.example/", "http://evil@127.0.0.1/")
    return worst(
        instead_of(world, HTTPS, *remote),
        instead_of(world, "http://127.0.0.1/", *local),
        registering(world, *remote, *local),
    )


@attack("ATK-025", "Loopback with another path, query, scheme or host", "RFC 8252 §7.3", "AS", stopped_from="04")
def loopback_but_more(world: World) -> Verdict:
    """Only the port may vary."""
    uris = (
        "http://127.0.0.1:5/evil",
        "http://127.0.0.1:5/cb?x=evil",
        "https://127.0.0.1/cb",
        "http://localhost:5/cb",
        "http://[::1]:5/cb",
        "http://127.0.0.2/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://127.0.0.1.evil.example:5/cb",
    )
    return instead_of(world, LOOPBACK, *uris)


@attack("ATK-026", "Port variance abused off loopback", "RFC 9700 §4.1.3", "AS", stopped_from="04")
def port_off_loopback(world: World) -> Verdict:
    return instead_of(world, HTTPS, "https://app.example:8443/cb", "https://app.example:443/cb")


@attack("ATK-028", "AS as open redirector", "OAuth 2.1 §7.12.2, RFC 9700 §4.11.2", "AS", stopped_from="07")
def open_redirector(world: World) -> Verdict:
    """Neither an error nor a page that somebody else opened sends the victim there."""
    client_id = world.register(redirect_uris=[PHISH])["client_id"]
    ask = world.ask(client_id, redirect_uri=PHISH)
    wrong = ({"scope": "nonsense"}, {"response_type": "token"}, {"code_challenge": "abc"}, {"resource": "nonsense"})
    nobody_yet = world.browser()
    answers = [nobody_yet.get("/authorize", params=ask | change) for change in wrong]
    answers.append(nobody_yet.get("/authorize", params=[*ask.items(), ("state", "twice")]))
    somebody, victim = world.browser(), world.browser()
    denials = [world.cancel(ask), world.cancel(ask, opened=somebody, answered=victim)]
    verdict = worst(*map(denied_with_page, answers + denials))
    if not all("phish.example" in answer.text for answer in answers):
        return worst(verdict, otherwise("the page does not name the host"))
    return verdict


@attack("ATK-029", "Unknown client_id", "OAuth 2.1 §4.1.2.1", "AS", stopped_from="04")
def unknown_client(world: World) -> Verdict:
    """The page is the same for all of them."""
    ids = ("nobody", "nobody else", "' OR 1=1 --", "é", "a" * 5000)
    answers = [asked(world, client_id, "https://evil.example/cb") for client_id in ids]
    verdict = worst(*map(denied_with_page, answers))
    if len({answer.text for answer in answers}) > 1 or "evil.example" in answers[0].text:
        return worst(verdict, otherwise("the page says more than that the client is unknown"))
    return verdict


@attack("ATK-031", "Implicit grant asked", "OAuth 2.1 §4.1.2.1, §10.1", "AS", stopped_from="04")
def implicit_grant(world: World) -> Verdict:
    client_id = world.register()["client_id"]

    def denied_as(error: str, response_type: str | None) -> Verdict:
        ask = world.ask(client_id, response_type=response_type)
        return denied_at_home(world.auth.get("/authorize", params=ask), error)

    return worst(
        denied_as("unsupported_response_type", "token"),
        denied_as("unsupported_response_type", "code token"),
        denied_as("unsupported_response_type", "id_token"),
        denied_as("invalid_request", None),
    )


@attack(
    "ATK-038",
    "redirect_uri changed at the token endpoint",
    "RFC 6749 §4.1.3, §5.2, OAuth 2.1 §10.2",
    "AS",
    stopped_from="04",
)
def changed_redirect_uri(world: World) -> Verdict:
    client_id = world.register()["client_id"]
    changed = ("https://evil.example/cb", "http://127.0.0.1:6666/callback", CALLBACK + "/")
    answers = [world.redeem(client_id, world.code(client_id), redirect_uri=uri) for uri in changed]
    return worst(*(denied(answer, (400, "invalid_grant")) for answer in answers))


@attack(
    "ATK-040",
    "Impersonated localhost client skips consent",
    "OAuth 2.1 §7.3.1, MCP Localhost Redirect URI Risks",
    "AS",
    stopped_from="04",
)
def silent_approval(world: World) -> Verdict:
    """Any program on this computer can use a client_id that was allowed before: a person is asked each time."""
    client_id = world.register()["client_id"]
    world.code(client_id)
    page = asked(world, client_id, "http://127.0.0.1:6666/callback")
    if page.has_redirect_location:
        return got_in("a code without a question") if "code" in answer_in(page) else otherwise("an error")
    if "<form" not in page.text or "127.0.0.1:6666" not in page.text or "this computer" not in page.text:
        return otherwise("the page does not say that the answer goes to any program on this computer")
    return as_specified("the page asks again")


@attack("ATK-041", "307 after login form", "RFC 9700 §4.12", "AS", stopped_from="04")
def repeated_post(world: World) -> Verdict:
    """A 307 would have the browser post the password to the client."""
    ask = world.ask(world.register()["client_id"])
    answers = [world.consent(ask), world.consent(ask, decision="deny")]
    if any(answer.status_code not in (302, 303, 307, 308) for answer in answers):
        return otherwise(", ".join(str(answer.status_code) for answer in answers))
    if any(answer.status_code in (307, 308) for answer in answers):
        return got_in("the password travels on to the client")
    if world.auth.post("/consent/", data={"password": "a password"}).has_redirect_location:
        return otherwise("a password is posted twice")
    return as_specified("303")


class Addresses(HTMLParser):
    """Where a page loads things from, links and posts to."""

    def __init__(self, html: str):
        super().__init__()
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        wanted = ("src", "href", "action", "formaction", "data", "poster", "srcset", "ping")
        self.found += [value or "" for name, value in attributes if name in wanted]


@attack("ATK-043", "Leak through Referer", "RFC 9700 §4.2, §4.3", "AS, C", stopped_from="04")
def leak_through_referer(world: World) -> Verdict:
    """Neither a page of ours nor the one behind the redirect tells others the address that it stands at."""
    ask = world.ask(world.register()["client_id"])
    answers = [
        world.auth.get("/authorize", params=ask),
        world.auth.get("/authorize", params=ask | {"client_id": "nobody"}),
        world.auth.get("/authorize", params=ask | {"scope": "nonsense"}),
        world.consent(ask, password="wrong"),
        world.consent(ask),
    ]
    if any(answer.headers.get("referrer-policy") != "no-referrer" for answer in answers):
        return otherwise("an answer without Referrer-Policy: no-referrer")
    addresses = [address for answer in answers for address in Addresses(answer.text).found]
    if any(urlsplit(address).netloc for address in addresses):
        return otherwise(f"a page leads elsewhere: {addresses}")
    return callback_forgets() if isinstance(world, InProcess) else as_specified()


def callback_forgets() -> Verdict:
    """The client's own page: the code leaves the address bar and the history."""
    with waiting_for_redirect() as callback, httpx2.Client(timeout=10) as browser:
        page = browser.get(callback.uri, params={"code": "x", "state": "y"})
    gone = page.has_redirect_location and not urlsplit(page.headers["location"]).query
    if not gone and "history.replaceState" not in page.text:
        return otherwise("the callback page keeps the code in the history")
    if not gone and page.headers.get("referrer-policy") != "no-referrer":
        return otherwise("the callback page without Referrer-Policy: no-referrer")
    return as_specified("no-referrer")
