"""Group I: the page where a person decides, and those who would decide for them."""

import httpx2

from attacks.core import (
    NotHere,
    Verdict,
    answer_in,
    as_specified,
    attack,
    denied,
    denied_with_page,
    got_in,
    let_in,
    otherwise,
    worst,
)
from attacks.hostile import EVIL
from attacks.world import CALLBACK, PASSWORDS, REBALANCE, InProcess, World
from shared.addresses import NEIGHBOUR

ALICE = {"username": "alice", "password": PASSWORDS["alice"], "decision": "allow"}
BOB = {"username": "bob", "password": PASSWORDS["bob"], "decision": "allow"}
WRONG = ALICE | {"password": "wrong"}
SENTIMENT = "mcp:tools:sentiment"
AN_HOUR = 3600  # seconds
SCRIPT = "<script>alert(1)</script>"
IMAGE = "\"><img src=x onerror='alert(1)'>"


@attack("ATK-152", "Clickjacking", "RFC 9700 §4.16", "AS", stopped_from="07")
def clickjacking(world: World) -> Verdict:
    """Another site lays the page invisibly over its own buttons."""
    ask = world.ask(world.register()["client_id"])
    fields = world.page(ask)
    pages = [
        world.auth.get("/authorize", params=ask),
        world.wrong_password(ask),
        world.browser().get("/authorize", params=ask),
        world.auth.get("/authorize", params=ask | {"client_id": "nobody"}),
        world.auth.post("/consent", data=fields | {"request": "none"}),
        world.auth.post("/consent", data=fields | {"decision": "deny"}),
    ]
    return worst(*map(framed, pages))


def framed(page: httpx2.Response) -> Verdict:
    by_policy = "frame-ancestors 'none'" in page.headers.get("content-security-policy", "")
    by_option = page.headers.get("x-frame-options", "").upper() == "DENY"
    if by_policy and by_option:
        return as_specified("cannot be framed")
    if "<form" in page.text and not by_policy and not by_option:
        return got_in("the consent page can be framed")
    return otherwise(f"{page.status_code} of {page.request.url.path} can be framed")


@attack("ATK-154", "Consent bypass", "OAuth 2.1 §7.3", "AS", stopped_from="07")
def consent_bypass(world: World) -> Verdict:
    """A link, an answer to no question, to one that another browser was asked, and to one asked long ago."""
    ask = world.ask(world.register()["client_id"])
    fields = world.page(ask)
    other = world.browser()
    link = other.get("/consent", params={"approve": "1"} | fields | BOB)
    verdict = worst(
        as_specified("405") if link.status_code == 405 else denied_with_page(link),
        denied_with_page(other.post("/consent", data=BOB)),
        denied_with_page(other.post("/consent", data=fields | BOB)),
        denied_with_page(other.post("/consent", data=fields | BOB | {"decision": "deny"})),
    )
    if "code" not in answer_in(world.auth.post("/consent", data=fields | ALICE)):
        return worst(verdict, otherwise("whoever was asked cannot answer any more"))
    if not isinstance(world, InProcess):
        return verdict
    left_open = world.page(ask)
    world.later(AN_HOUR)
    return worst(verdict, denied_with_page(world.auth.post("/consent", data=left_open | ALICE)))


@attack("ATK-155", "Consent tampering", "OAuth 2.1 §7.11", "AS", stopped_from="04")
def consent_tampering(world: World) -> Verdict:
    """The page is in the user's hands, and whoever has a hand in the page would like another question answered."""
    client_id, other = (world.register()["client_id"] for _ in range(2))
    changed = {"scope": [SENTIMENT, REBALANCE], "client_id": other, "resource": NEIGHBOUR, "state": "another"}
    changed |= {"redirect_uri": f"{EVIL}/callback", "code_challenge": "A" * 43}
    answer = world.consent(world.ask(client_id, scope=SENTIMENT), **changed)
    if not answer.headers.get("location", "").startswith(f"{CALLBACK}?"):
        return got_in("the code went elsewhere")
    stolen = denied(world.redeem(other, answer_in(answer)["code"]), (400, "invalid_grant"))
    bought = world.redeem(client_id, answer_in(answer)["code"])
    if bought.status_code != 200 or answer_in(answer)["state"] != "the state":
        return worst(stolen, otherwise("the form was believed"))
    if bought.json()["scope"] != SENTIMENT:
        return got_in(f"the token is good for {bought.json()['scope']}")
    if world.list_tools(f"Bearer {bought.json()['access_token']}").status_code != 200:
        return worst(stolen, otherwise("the token is for another server"))
    return worst(as_specified("the form changes nothing"), stolen)


@attack("ATK-157", "XSS by client_name, scope, state, error", "OAuth 2.1 §7.11", "AS", stopped_from="07")
def markup_on_the_page(world: World) -> Verdict:
    """Markup from strangers stays text; and if it did not, the page's policy would let no script run."""
    ask = world.ask(world.register(client_name=SCRIPT)["client_id"], state=IMAGE)
    fields = world.page(ask)
    pages = [
        world.auth.get("/authorize", params=ask),
        world.wrong_password(ask, username=IMAGE, scope=[SENTIMENT, SCRIPT]),
        world.auth.post("/consent", data=fields | {"request": IMAGE}),
        *(world.auth.get("/authorize", params=ask | {name: SCRIPT}) for name in ("client_id", "redirect_uri")),
    ]
    redirects = [world.auth.get("/authorize", params=ask | {name: SCRIPT}) for name in ("scope", "resource")]
    redirects += [world.auth.post("/consent", data=fields | {"decision": "deny"})]
    return worst(*map(only_text, pages), *(travels_encoded(answer, IMAGE) for answer in redirects))


def only_text(page: httpx2.Response) -> Verdict:
    if SCRIPT in page.text or "<img" in page.text:
        return got_in(f"{page.request.url.path} repeats markup as markup")
    if "default-src 'none'" not in page.headers.get("content-security-policy", ""):
        return otherwise("escaped, but no policy forbids scripts")
    return as_specified("escaped")


def travels_encoded(answer: httpx2.Response, state: str) -> Verdict:
    if not set('<>"').isdisjoint(answer.headers.get("location", "<")) or "<" in answer.text:
        return otherwise(f"{answer.status_code} with markup in it")
    return as_specified() if answer_in(answer).get("state") == state else otherwise("state has changed")


@attack("ATK-160", "Session fixation and login CSRF", "RFC 6749 §10.12", "AS", stopped_from="07")
def signed_in_by_another(world: World) -> Verdict:
    """The attacker's form, sent by the victim's browser, would connect the victim to the attacker's account."""
    ask = world.ask(world.register()["client_id"])
    attacker, victim, planted = (world.browser() for _ in range(3))
    form = world.page(ask, attacker) | BOB
    planted.cookies.update(attacker.cookies)
    site = {"Origin": EVIL}
    verdict = worst(
        denied_with_page(victim.post("/consent", data=form)),
        denied_with_page(victim.post("/consent", data=form, headers={"Origin": "null"})),
        *(from_another_site(browser.post("/consent", data=form, headers=site)) for browser in (victim, planted)),
    )
    kept = set(cookie.split(";")[0] for cookie in set_cookies(planted.get("/authorize", params=ask)))
    if not kept or kept & {f"{cookie.name}={cookie.value}" for cookie in attacker.cookies.jar}:
        return worst(verdict, otherwise("a browser keeps the cookie that somebody else gave it"))
    return verdict


def from_another_site(answer: httpx2.Response) -> Verdict:
    if answer.has_redirect_location or let_in(answer):
        return got_in("another site's form was taken for the user's")
    return as_specified("403") if answer.status_code == 403 else otherwise(f"{answer.status_code}")


@attack("ATK-161", "Cookie flags", "MCP best practices, consent cookie", "AS", stopped_from="07")
def cookie_flags(world: World) -> Verdict:
    """No script reads it, no other site's form brings it; and where there is TLS, nothing else carries it."""
    cookies = set_cookies(world.browser().get("/authorize", params=world.ask(world.register()["client_id"])))
    if not cookies:
        raise NotHere("no cookies")
    wanted = {"httponly", "samesite=lax", "path=/"} | ({"secure"} if world.issuer.startswith("https") else set())
    for cookie in cookies:
        flags = {flag.strip().lower() for flag in cookie.split(";")[1:]}
        if missing := wanted - flags:
            return otherwise(f"without {', '.join(sorted(missing))}")
        if any(flag.startswith("domain=") for flag in flags):
            return otherwise("other hosts get it too")
        if "secure" in wanted and not cookie.startswith("__Host-"):
            return otherwise("without the prefix __Host-")
    return as_specified()


def set_cookies(answer: httpx2.Response) -> list[str]:
    return answer.headers.get_list("set-cookie")


@attack("ATK-206", "A stranger's page uses up the user's limits", "own", "AS", stopped_from="07")
def pictures(world: World) -> Verdict:
    """A hundred pictures in a web page ask the authorization server, from the user's own address."""
    picture = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    browser = world.browser()
    ask = world.ask(world.register()["client_id"])
    answers = [browser.get("/authorize", params=ask, headers=picture) for _ in range(101)]
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    followed = browser.get("/authorize", params=ask, headers=link)
    if followed.status_code == 429:
        return got_in("the user cannot sign in any more")
    if followed.status_code != 200:
        return otherwise("a link from another website does not work")
    return worst(*(denied(answer, (403, "invalid_request")) for answer in answers))
