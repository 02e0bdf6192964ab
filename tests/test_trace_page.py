"""The page of a run in a real browser, and the same run for other tools: whatever was recorded is only text."""

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tools.trace import telling
from tools.trace.har import har
from tools.trace.mermaid import diagram, escaped
from tools.trace.page import render

OWNED = "document.title='owned'"
HOSTILE = f'</script><script>{OWNED}</script><img src=https://evil.example/x onerror="{OWNED}">'
CLAIMS = {"iss": "http://localhost:9000", "aud": "http://localhost:8000/mcp", "sub": "alice", "exp": 1795275026}
NAMES = {"browser": "browser", "client": "client", "mcp_server": "MCP server", "auth_server": "issuer"}
WHY = "The secret proves that we are the ones who asked. RFC 7636 §4.5"


# ── a run ─────────────────────────────────────────────────────────────────────


def message(body: str = "", **headers: str) -> dict:
    pairs = [[name.replace("_", "-"), value] for name, value in headers.items()]
    return {"headers": pairs, "body": body, "size": len(body), "tokens": []}


def exchange(number: int, way: str, line: str, answer: tuple[int, str, dict], **more: object) -> dict:
    asking, answering = way.split(" > ")
    method, url = line.split(" ", 1)
    status, reason, told = answer
    request = {"method": method, "url": url, **message()}
    facts = {"id": number, "say": number, "from": asking, "to": answering, "at": number * 100.0, "took": 50.0}
    facts |= {"lesson": False, "why": WHY, "request": request}
    return facts | {"response": {"status": status, "reason": reason, **told}} | more


def walk() -> dict:
    """A run of six exchanges: a refusal, a redirect, a token, and a call during which the server fetches keys."""
    form = "grant_type=authorization_code&code=NWIglw%E2%80%A6+%2843+characters%29&client_id=c"
    token = message('{"access_token": "eyJhbG… (710 characters)"}', content_type="application/json")
    token["tokens"] = [{"where": "access_token", "header": {"typ": "at+jwt"}, "claims": CLAIMS}]
    trade = {"method": "POST", "url": "http://localhost:9000/token"}
    trade |= message(form, content_type="application/x-www-form-urlencoded", cookie="a=1; b=2")
    home = "http://127.0.0.1:38975/callback?code=NWIglw…&state=s"
    refused = message(www_authenticate='Bearer error="invalid_token", error_description="it has expired"')
    mcp, auth = "http://localhost:8000/mcp", "http://localhost:9000"
    keys = message('{"keys": []}', content_type="application/json")
    rows = [
        exchange(1, "client > mcp_server", f"POST {mcp}", (401, "Unauthorized", refused)),
        exchange(2, "browser > auth_server", f"POST {auth}/consent", (303, "See Other", message(location=home))),
        exchange(3, "client > auth_server", f"POST {auth}/token", (200, "OK", token), request=trade, lesson=True),
        exchange(4, "client > mcp_server", f"POST {mcp}", (200, "OK", message("{}")), took=90.0),
        exchange(5, "mcp_server > auth_server", f"GET {auth}/jwks", (200, "OK", keys), at=420.0, took=20.0, say=4),
        exchange(6, "client > mcp_server", f"GET {mcp}", (500, "", message()), response=None, say=5),
    ]
    says = [{"number": n, "what": f"Say what {n} is for", "why": WHY, "at": n * 100.0 - 1} for n in range(1, 6)]
    return {
        "step": "04",
        "title": "authorization code flow",
        "thesis": "a stolen code is worthless",
        "began": "2026-11-21T15:30:00.123Z",
        "outcome": "",
        "parties": [{"id": id, "name": name} for id, name in NAMES.items()],
        "says": says,
        "notes": [{"at": 350.0, "text": "We wait until the token has expired: 3 seconds."}],
        "exchanges": rows,
    }


def long_walk(count: int) -> dict:
    """One announcement for each of so many exchanges; every third belongs to the lesson."""
    trace, model = walk(), walk()["exchanges"][:4]
    more = [copy.deepcopy(model[n % 4]) | {"id": n, "say": n, "at": n * 100.0} for n in range(1, count + 1)]
    trace["exchanges"] = [one | {"lesson": one["id"] % 3 == 0} for one in more]
    say = {"what": "Read the metadata of the authorization server", "why": WHY}
    trace["says"] = [say | {"number": n, "at": n * 100.0} for n in range(1, count + 1)]
    return trace


def run_again(trace: dict) -> dict:
    """The same run on another day: other moments, other ports, other identifiers."""
    text = json.dumps(trace).replace(":38975/", ":40001/")
    text = text.replace("m7FRHIdL1LGU_qw5AKvXyQ", "aBcdEfGhIjKlM-nOpQrStU")
    other = json.loads(text) | {"began": "2027-01-02T03:04:05.678Z"}
    for one in [*other["exchanges"], *other["says"], *other["notes"]]:
        one["at"] = one["at"] * 1.7
    for one in other["exchanges"]:
        one["took"] = one["took"] * 1.6
    return other


def with_everything_hostile(value: object) -> object:
    if isinstance(value, dict):
        kept = ("id", "from", "to", "method", "url", "began", "content-type")
        return {name: inner if name in kept else with_everything_hostile(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [with_everything_hostile(inner) for inner in value]
    return f"{value} {HOSTILE}" if isinstance(value, str) else value


# ── the browser ───────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    page.set_default_timeout(60_000)
    page.asked, page.problems = [], []
    page.on("request", lambda sent: page.asked.append(sent.url))
    page.on("console", lambda said: page.problems.append(said.text))
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    yield page
    page.close()


@pytest.fixture
def opened(tab: Page, tmp_path: Path) -> Callable[[dict], Page]:
    """Opens the page of a trace from its file; what the browser asked for and complained about is kept."""

    def show(trace: dict) -> Page:
        file = tmp_path / "trace.html"
        file.write_text(render(trace), encoding="utf-8")
        tab.asked.clear()
        tab.problems.clear()
        tab.emulate_media(media="null", color_scheme="light")
        tab.set_viewport_size({"width": 1280, "height": 800})
        tab.goto("about:blank")  # else a page of the same address would only be scrolled
        tab.goto(file.as_uri())
        return tab

    return show


def lines(page: Page) -> list[str]:
    return [" ".join(line.inner_text().split()) for line in page.locator(".line").all()]


def here(page: Page) -> str:
    return page.evaluate("document.activeElement.closest('.row')?.dataset.id ?? ''")


# ── what one sees ─────────────────────────────────────────────────────────────


def test_an_answer_waits_for_what_comes_between(opened: Callable[[dict], Page]) -> None:
    page = opened(walk())
    assert page.locator("h1").text_content() == "a stolen code is worthless"
    assert page.locator(".head").all_inner_texts() == list(NAMES.values())
    assert lines(page) == [
        "POST /mcp 401 invalid_token",
        "POST /consent 303 to 127.0.0.1/callback with a code",
        "lesson POST /token authorization_code 200 access_token",
        "POST /mcp",
        "GET /jwks 200 keys",
        "200 OK",
        "GET /mcp broken the connection broke",
    ]
    assert page.locator(".say").nth(2).locator(".note").inner_text().startswith("We wait until")
    assert page.problems == []


def test_a_click_opens_why_parameters_headers_body_and_token(opened: Callable[[dict], Page]) -> None:
    page = opened(walk())
    line = page.get_by_role("button", name="Lesson. client to issuer: POST /token")
    assert page.locator(".details").count() == 0
    line.click()
    details = page.locator(f"#{line.get_attribute('aria-controls')}")
    assert line.get_attribute("aria-expanded") == "true"
    assert details.locator(".because").inner_text().startswith(WHY)
    cells = [" ".join(row.inner_text().split()) for row in details.locator("tr").all()]
    assert "code NWIglw… (43 characters)" in cells, "a form is a table"
    assert "cookie a=1; b=2" in cells, "and so are the headers"
    assert "aud http://localhost:8000/mcp whose door it opens" in cells, "a word on each claim"
    assert "exp 1795275026 2026-11-21 15:30:26 UTC when it stops working" in cells
    assert details.locator("pre").inner_text() == '{\n  "access_token": "eyJhbG… (710 characters)"\n}'
    line.click()
    assert details.is_hidden()


def test_the_keyboard_is_enough(opened: Callable[[dict], Page]) -> None:
    page = opened(walk())
    press = page.keyboard.press
    steps = {"ArrowDown": "1", "j": "2", "End": "6", "ArrowUp": "4", "k": "5", "Home": "1"}
    for key, number in steps.items():
        press(key)
        assert here(page) == number, key
    press("Enter")
    assert page.locator(".details").is_visible()
    press("Escape")
    assert page.locator(".details").is_hidden()
    assert here(page) == "1"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "one sees where one is"
    assert page.locator(".line[tabindex='0']").count() == 1, "Tab leaves the list with one key"


def test_only_the_lesson_folds_the_rest(opened: Callable[[dict], Page]) -> None:
    trace = walk()
    trace["exchanges"][4]["lesson"] = True
    page = opened(trace)
    page.get_by_label("only the lesson").check()
    shown = page.locator(".row:visible")
    assert [row.get_attribute("data-id") for row in shown.all()] == ["3", "5"]
    assert page.locator(".fold").all_inner_texts() == ["1–2 as before", "5 as before"]
    assert page.locator(".line:visible").first.get_attribute("tabindex") == "0"
    page.get_by_role("button", name="open all").click()
    assert page.locator(".details:visible").count() == 2
    page.get_by_label("only the lesson").uncheck()
    assert page.locator(".row:visible").count() == 7


def test_the_address_can_name_an_exchange(opened: Callable[[dict], Page]) -> None:
    page = opened(walk())
    address = page.url
    page.goto(f"{address}#3")
    page.locator("#details-3-both").wait_for()
    assert here(page) == "3"
    page.goto("about:blank")
    page.goto(f"{address}#2")
    page.locator("#details-2-both").wait_for()
    assert here(page) == "2"


def test_a_run_that_stopped_says_why(opened: Callable[[dict], Page]) -> None:
    page = opened(walk() | {"outcome": "Nobody answers at http://localhost:9000."})
    assert page.get_by_role("alert").inner_text() == "Nobody answers at http://localhost:9000."
    assert opened(walk()).get_by_role("alert").count() == 0


@pytest.mark.parametrize("width", [400, 1000, 1400])
def test_it_fits_and_can_be_read(opened: Callable[[dict], Page], width: int) -> None:
    page = opened(walk())
    page.set_viewport_size({"width": width, "height": 800})
    page.get_by_role("button", name="open all").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing to scroll sideways for"
    assert page.locator(".who").first.is_visible() == (width == 400), "words instead of lanes"
    assert page.locator(".row .shaft").last.is_visible() == (width > 400)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for ink, behind in page.evaluate(
            COLOURS, [".say h2", ".why", ".no", ".yes", ".on", ".tag", ".word", ".label b"]
        ):
            assert contrast(ink, behind) >= 4.5, (scheme, ink, behind)


COLOURS = """selectors => selectors.map(selector => {
  const element = [...document.querySelectorAll(selector)].at(-1);
  let behind = element;
  while (getComputedStyle(behind).backgroundColor.endsWith(', 0)')) behind = behind.parentElement;
  return [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor];
})"""


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2 between two CSS colours."""
    bright, dark = sorted([luminance(one), luminance(other)], reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def luminance(css: str) -> float:
    channels = [int(value) / 255 for value in re.findall(r"\d+", css)[:3]]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


# ── what must not happen ──────────────────────────────────────────────────────


def test_whatever_was_recorded_stays_text(opened: Callable[[dict], Page]) -> None:
    page = opened(with_everything_hostile(walk()))
    page.get_by_role("button", name="open all").click()
    assert HOSTILE in page.locator("h1").text_content()
    assert HOSTILE in page.locator(".details pre").first.inner_text()
    assert page.locator("script").count() == 2 and page.locator("img").count() == 0
    assert page.title() == f"Step 04 {HOSTILE}: authorization code flow {HOSTILE}"
    assert page.problems == []


def test_no_request_leaves_the_page_and_no_other_script_runs(opened: Callable[[dict], Page]) -> None:
    page = opened(with_everything_hostile(walk()))
    page.get_by_role("button", name="open all").click()
    assert page.asked == ["about:blank", page.url] or page.asked == [page.url]
    page.evaluate("markup => { document.querySelector('h1').innerHTML = markup; }", HOSTILE)
    page.wait_for_function("document.querySelector('h1 img')?.complete")
    assert page.title() != "owned", "even if something became markup"
    assert any("Content Security Policy" in problem for problem in page.problems)


# ── on paper, and long ────────────────────────────────────────────────────────


@pytest.mark.parametrize(("count", "points"), [(25, 6), (40, 4.5)])
def test_a_run_prints_to_one_page(opened: Callable[[dict], Page], count: int, points: float) -> None:
    thesis = "what a patient attacker tries next, and why it fails, " * 3
    page = opened(long_walk(count) | {"thesis": thesis, "outcome": "It stopped."})
    page.get_by_role("button", name="open all").click()
    for paper in ("A4", "Letter"):
        assert number_of_pages(page.pdf(format=paper)) == 1, paper
    page.emulate_media(media="print")
    assert page.locator(".line:visible").count() == count, "all of it is there"
    assert page.locator(".details:visible, .tools:visible").count() == 0
    size = "parseFloat(getComputedStyle(document.querySelector('.label')).fontSize) * 0.75"
    assert page.evaluate(size) >= points


def number_of_pages(pdf: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf))


def test_two_hundred_exchanges_are_all_there(opened: Callable[[dict], Page]) -> None:
    """How long that takes is measured by `python -m tools.benchmark`."""
    assert opened(long_walk(200)).locator(".line").count() == 200


# ── for other tools ───────────────────────────────────────────────────────────


def test_a_har_has_what_the_format_asks_for() -> None:
    log = har(walk())["log"]
    assert (log["version"], len(log["entries"])) == ("1.2", 6)
    trade = log["entries"][2]
    assert trade["startedDateTime"] == "2026-11-21T15:30:00.423Z"
    assert trade["time"] == sum(trade["timings"].values()) == 50.0
    assert {"name": "grant_type", "value": "authorization_code"} in trade["request"]["postData"]["params"]
    assert trade["request"]["cookies"] == [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}]
    assert trade["response"]["content"]["mimeType"] == "application/json"
    assert (trade["_from"], trade["_to"], trade["_why"]) == ("client", "auth_server", WHY)
    redirect, broken = log["entries"][1], log["entries"][5]
    assert redirect["response"]["redirectURL"].startswith("http://127.0.0.1:38975/callback?code=")
    assert "postData" not in redirect["request"]
    assert (broken["response"]["status"], broken["_error"]) == (0, "no answer")


def test_a_har_can_be_played_back(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "trace.har"
    file.write_text(json.dumps(har(walk())), encoding="utf-8")
    context = browser.new_context()
    context.route_from_har(file, not_found="abort")
    answer = context.new_page().goto("http://localhost:9000/jwks")
    assert (answer.status, answer.json()) == (200, {"keys": []})
    context.close()


def test_a_diagram_has_every_exchange_and_marks_the_lesson() -> None:
    assert [line.strip() for line in diagram(walk()).splitlines()] == [
        "sequenceDiagram",
        *(f"participant {id} as {name}" for id, name in NAMES.items()),
        "Note over browser,auth_server: 1 Say what 1 is for",
        "client->>mcp_server: POST /mcp",
        "mcp_server-->>client: 401 invalid_token",
        "Note over browser,auth_server: 2 Say what 2 is for",
        "browser->>auth_server: POST /consent",
        "auth_server-->>browser: 303 to 127.0.0.1/callback with a code",
        "Note over browser,auth_server: 3 Say what 3 is for",
        "rect rgba(224, 160, 32, 0.16)",
        "client->>auth_server: POST /token authorization_code",
        "auth_server-->>client: 200 access_token",
        "end",
        "Note over browser,auth_server: 4 Say what 4 is for",
        "client->>mcp_server: POST /mcp",
        "mcp_server->>auth_server: GET /jwks",
        "auth_server-->>mcp_server: 200 keys",
        "mcp_server-->>client: 200 OK",
        "Note over browser,auth_server: 5 Say what 5 is for",
        "client->>mcp_server: GET /mcp",
        "mcp_server--xclient: no answer the connection broke",
    ]


def test_the_lesson_alone_is_short_and_the_same_in_every_run() -> None:
    trace = walk()
    trace["exchanges"][1]["lesson"] = True
    trace["exchanges"][1]["request"]["url"] += "/m7FRHIdL1LGU_qw5AKvXyQ"
    result = "mallory and bob, through client m7FRHIdL1LGU_qw5AKvXyQ at http://127.0.0.1:38975/callback"
    trace["exchanges"][4]["response"]["body"] = json.dumps({"result": {"structuredContent": {"result": result}}})
    trace["exchanges"][4]["lesson"] = True
    text = diagram(trace, only_lesson=True)
    assert text == diagram(run_again(trace), only_lesson=True)
    assert "Note over browser,auth_server: 1 as in the step before" in text
    assert "Note over browser,auth_server: 5 Say what 5 is for" in text
    assert "POST /consent/…" in text
    assert "200 result mallory and bob, through client …" in text


def test_what_happens_inside_a_lesson_stands_on_its_tint() -> None:
    trace = walk()
    trace["exchanges"][3]["lesson"] = True
    inside = re.findall(r"rect .*?\n(.*?)\n *end", diagram(trace), re.S)[-1]
    assert [row.split(":")[0].strip() for row in inside.splitlines()] == [
        "client->>mcp_server",
        "mcp_server->>auth_server",
        "auth_server-->>mcp_server",
        "mcp_server-->>client",
    ]


def test_no_text_means_anything_to_mermaid() -> None:
    assert escaped("a; b#1: <c>\nend %% {d}") == "a#59; b#35;1#58; #60;c#62; end #37;#37; #123;d#125;"
    trace = with_everything_hostile(walk()) | {"outcome": ""}
    assert len(diagram(trace).splitlines()) == len(diagram(walk()).splitlines())
    assert "<" not in diagram(trace)


def test_answers_that_overlap_by_chance_are_no_nesting() -> None:
    trace = walk()
    trace["exchanges"][0]["took"] = 1000.0
    kinds = [row.kind for section in telling.sections(trace) for row in section.rows if row.exchange]
    assert kinds == ["both", "both", "both", "request", "both", "answer", "both"]


def test_whoever_has_no_part_in_the_lesson_has_no_lane() -> None:
    assert "participant mcp_server" in diagram(walk())
    assert "mcp_server" not in diagram(walk(), only_lesson=True)
