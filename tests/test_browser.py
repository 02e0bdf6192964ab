"""The consent page in a real browser: it is readable, it works with mouse and keyboard, and it says no when told."""

from collections.abc import Iterator
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, Page

from attacks.site import Site
from shared import pages
from shared.browser import waiting_for_redirect
from tests.world import VERIFIER, World, served

pytestmark = pytest.mark.since("05")


@pytest.fixture
def page(browser: Browser, world: World) -> Iterator[Page]:
    """A page of a browser whose `localhost:9000` is this test's own authorization server, over a real socket."""
    with served(world.auth_server.app) as origin:
        world.auth.base_url = origin  # the honest words go where the browser goes
        context = browser.new_context(base_url=origin)
        context.set_default_timeout(60_000)
        page = context.new_page()
        page.problems = []
        page.on("console", lambda message: page.problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        yield page
        context.close()


def sign_in(page: Page, username: str = "alice", password: str = "wonderland") -> None:
    page.get_by_label("Name").fill(username)
    page.get_by_label("Password").fill(password)


@pytest.mark.since("04")
def test_a_person_allows_and_the_client_gets_its_code(page: Page, world: World) -> None:
    client_id = world.register()["client_id"]
    with waiting_for_redirect() as callback:
        page.goto("/authorize?" + urlencode(world.ask(client_id, redirect_uri=callback.uri)))
        assert page.get_by_role("heading").inner_text() == "Allow A test in?"
        assert callback.uri.split("/")[2] in page.inner_text("main")
        sign_in(page)
        page.get_by_role("button", name="Allow").click()
        page.get_by_text("You can close this page").wait_for()
        visit = callback.wait()
    client = world.loaded.module("client")
    code = client.answer_in(visit)["code"]
    tokens = world.redeem(client_id, code, code_verifier=VERIFIER).json()
    assert tokens["scope"] == "mcp:tools:sentiment mcp:resources:customer-data:read"
    assert page.problems == []


def test_a_scope_is_unticked_with_the_keyboard_and_stays_so_after_a_wrong_password(page: Page, world: World) -> None:
    client_id = world.register()["client_id"]
    with waiting_for_redirect() as callback:
        page.goto("/authorize?" + urlencode(world.ask(client_id, redirect_uri=callback.uri)))
        page.get_by_label("Read customers").focus()
        page.keyboard.press("Space")
        sign_in(page, password="wrong")
        page.keyboard.press("Enter")
        page.get_by_role("alert").wait_for()
        assert not page.get_by_label("Read customers").is_checked()
        sign_in(page)
        page.keyboard.press("Enter")
        page.get_by_text("You can close this page").wait_for()
        code = world.loaded.module("client").answer_in(callback.wait())["code"]
    assert world.redeem(client_id, code).json()["scope"] == "mcp:tools:sentiment"


def test_deny_needs_no_password(page: Page, world: World) -> None:
    with waiting_for_redirect() as callback:
        page.goto("/authorize?" + urlencode(world.ask(world.register()["client_id"], redirect_uri=callback.uri)))
        page.get_by_role("button", name="Deny").click()
        page.get_by_text("You can close this page").wait_for()
        assert "error=access_denied" in callback.wait()


@pytest.mark.parametrize("width", [320, 375, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_can_be_read(page: Page, world: World, width: int, scheme: str) -> None:
    page.set_viewport_size({"width": width, "height": 700})
    page.emulate_media(color_scheme=scheme)
    name = "A program with a remarkablylongandunbreakablenamethatgoesonandonandonandonandon"
    page.goto("/authorize?" + urlencode(world.ask(world.register(client_name=name)["client_id"])))
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing to scroll sideways for"
    for button in page.get_by_role("button").all():
        assert button.bounding_box()["height"] >= 40, "large enough for a thumb"
    ink, paper = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.querySelector('main')).backgroundColor]"
    )
    assert contrast(ink, paper) >= 7
    assert page.problems == []


def test_a_name_with_markup_stays_a_name(page: Page, world: World) -> None:
    client_id = world.register(client_name='<img src=x onerror="document.title=1">')["client_id"]
    page.goto("/authorize?" + urlencode(world.ask(client_id, state='"><script>document.title=1</script>')))
    assert page.get_by_role("heading").inner_text() == 'Allow <img src=x onerror="document.title=1"> in?'
    assert page.title().startswith("Allow")


def test_a_refusal_explains_itself(page: Page, world: World) -> None:
    page.goto("/authorize?client_id=nobody")
    assert "No program is registered under this client_id." in page.inner_text("main")
    assert page.locator("a").count() == 0


# ── what the page's own headers forbid ────────────────────────────────────────


@pytest.fixture
def believing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pages that take every name for markup: what is left then is what their headers forbid."""
    with monkeypatch.context() as patch:
        patch.setattr(pages.templates, "autoescape", False)
        pages.templates.cache.clear()
        yield
    pages.templates.cache.clear()


@pytest.mark.since("07")
def test_another_website_cannot_put_the_page_into_a_frame(page: Page, world: World) -> None:
    ask = f"{world.auth.base_url.join('/authorize')}?{urlencode(world.ask(world.register()['client_id']))}"
    statuses: dict[str, int] = {}
    page.on("response", lambda answer: statuses.update({urlsplit(answer.url).path: answer.status}))
    with Site() as site:
        frames = f'<h1>Win a prize</h1><iframe src="{ask}"></iframe><iframe src="{site.origin}/own"></iframe>'
        site.at("/", frames.replace("&", "&amp;").encode(), **{"Content-Type": "text/html"})
        site.at("/own", b"<form>a form of its own</form>", **{"Content-Type": "text/html"})
        page.goto(site.origin)
        ours, own = page.frames[1:]
        assert own.locator("form").count() == 1, "frames work here"
        assert ours.locator("form, input").count() == 0
        assert "Allow A test in?" not in ours.content()
    assert statuses["/authorize"] == 200, "the page was fetched, but not shown"


@pytest.mark.since("07")
@pytest.mark.parametrize(
    "name",
    ["<script>document.title='owned'</script>", "<img src=x onerror=\"document.title='owned'\">"],
)
@pytest.mark.usefixtures("believing")
def test_if_a_name_became_markup_no_script_in_it_would_run(page: Page, world: World, name: str) -> None:
    page.goto("/authorize?" + urlencode(world.ask(world.register(client_name=name)["client_id"])))
    assert page.locator("h1 script, h1 img").count() == 1, "the name is markup now"
    page.wait_for_timeout(100)
    assert page.title() != "owned"
    assert any("Content Security Policy" in problem for problem in page.problems)


@pytest.mark.since("07")
def test_our_own_form_says_that_it_comes_from_nowhere_and_is_heard(page: Page, world: World) -> None:
    origins: dict[str, str | None] = {}
    page.on("request", lambda sent: origins.update({urlsplit(sent.url).path: sent.all_headers().get("origin")}))
    with waiting_for_redirect() as callback:
        page.goto("/authorize?" + urlencode(world.ask(world.register()["client_id"], redirect_uri=callback.uri)))
        sign_in(page)
        page.get_by_role("button", name="Allow").click()
        page.get_by_text("You can close this page").wait_for()
        assert "code=" in callback.wait()
    assert origins["/authorize"] is None
    assert origins["/consent"] == "null"
    assert page.problems == []


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2 between two CSS colours."""

    def luminance(css: str) -> float:
        channels = [int(value) / 255 for value in css[css.index("(") + 1 : -1].split(",")[:3]]
        linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dark = sorted([luminance(one), luminance(other)], reverse=True)
    return (bright + 0.05) / (dark + 0.05)
