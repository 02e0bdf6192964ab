"""The lesson as a page: both sides are the files as they are, nothing in them is markup, and the page asks nobody."""

import html
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tools import lessons, side_by_side
from tools.catalogue import all_steps, before
from tools.side_by_side import File, Line

HOSTILE = """'''a</script></style><script>document.title = "owned"</script>'''
x = "<img src=x onerror=alert(1)>"  # &amp; <!-- {{ 7 * 7 }}
"""


def text_of(line: Line) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", line.code))


def side(file: File, name: str) -> list[Line]:
    return [line for stretch in file.stretches for line in getattr(stretch, name) if line]


@pytest.fixture
def compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def compared(old: str | None, new: str) -> File:
        monkeypatch.setattr(lessons, "ROOT", tmp_path)
        for name, text in (("old.py", old), ("new.py", new)):
            if text is not None:
                (tmp_path / name).write_text(text, encoding="utf-8")
        return side_by_side.compared("new.py", tmp_path / "old.py", tmp_path / "new.py")

    return compared


# ── what stands there ─────────────────────────────────────────────────────────


@pytest.mark.since("02")
def test_both_sides_are_the_files_line_by_line(step: str) -> None:
    step_ = all_steps()[step]
    for name in step_.files:
        paths = {"old": before(step_).path / name, "new": step_.path / name}
        file = side_by_side.compared(name, *paths.values())
        for which, path in paths.items():
            lines = side(file, which)
            assert [text_of(line) for line in lines] == (path.read_text("utf-8").splitlines() if path.is_file() else [])
            assert [line.number for line in lines] == list(range(1, len(lines) + 1))
        for stretch in file.stretches:
            assert len(stretch.old) == len(stretch.new) or file.is_new
            if stretch.kind == "same":
                assert list(map(text_of, stretch.old)) == list(map(text_of, stretch.new))


@pytest.mark.since("02")
def test_what_is_marked_as_a_change_is_what_the_lesson_counts(step: str) -> None:
    step_ = all_steps()[step]
    counts = lessons.counted(lessons.lesson(step_))
    for name, (added, removed) in counts.items():
        file = side_by_side.compared(name, before(step_).path / name, step_.path / name)
        changes = [stretch for stretch in file.stretches if stretch.kind == "change"]
        assert sum(line is not None for change in changes for line in change.new) == added == file.added
        assert sum(line is not None for change in changes for line in change.old) == removed == file.removed


def test_the_page_shows_the_changed_files_in_the_order_of_the_lesson() -> None:
    step = all_steps()["07"]
    page = side_by_side.page(step)
    counts = lessons.counted(lessons.lesson(step))
    found = re.findall(r'<li><a href="#(.*?)">.*?\+(\d+)</span> <span class="minus">−(\d+)<', page, re.S)
    assert found == [(name, str(added), str(removed)) for name, (added, removed) in counts.items()]
    assert re.findall(r'<section class="[\w -]+" id="(.*?)"', page) == list(counts)


def test_it_is_written_where_the_other_output_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "ROOT", tmp_path)
    path = side_by_side.write(all_steps()["02"])
    assert path == tmp_path / "out" / "diff-02.html"
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_versions_of_one_line_stand_beside_each_other(compared) -> None:
    old = "first = 1\nsecond(alpha, beta)\n"
    new = "import something\nfirst = 10\n\nsecond(alpha, gamma)\n"
    [change] = compared(old, new).stretches
    rows = [[line and text_of(line) for line in pair] for pair in zip(change.old, change.new, strict=True)]
    assert rows == [
        [None, "import something"],
        ["first = 1", "first = 10"],
        [None, ""],
        ["second(alpha, beta)", "second(alpha, gamma)"],
    ]


def test_the_words_that_differ_are_marked_and_only_they(compared) -> None:
    [change] = compared('send(token, "the code has expired")\n', 'send(token, "it has expired")\n').stretches
    assert [re.sub(r"</?span.*?>", "", line.code) for line in (*change.old, *change.new)] == [
        "send(token, &quot;<mark>the code</mark> has expired&quot;)",
        "send(token, &quot;<mark>it</mark> has expired&quot;)",
    ]


def test_lines_that_have_nothing_in_common_have_no_marks(compared) -> None:
    [change] = compared("import asyncio\n", "RETRY = 3  # seconds\n").stretches
    assert "<mark>" not in change.old[0].code + change.new[0].code


def test_unchanged_stretches_are_folded_but_for_what_is_next_to_a_change(compared) -> None:
    rows = [f"a{n} = {n}" for n in range(40)]
    file = compared("\n".join(rows), "\n".join([*rows[:20], "new = 1", *rows[20:]]))
    assert [(part.kind, len(part.new), part.folded) for part in file.stretches] == [
        ("same", 17, True),
        ("same", 3, False),
        ("change", 1, False),
        ("same", 3, False),
        ("same", 17, True),
    ]


def test_a_folded_stretch_says_in_which_function_it_ends(compared) -> None:
    rows = ["async def first():", *["    pass"] * 9, "", "", "class Second:", *["    pass"] * 9]
    file = compared("\n".join(rows), "\n".join([*rows, "    last = 1"]))
    assert file.stretches[0].inside == "class Second"


def test_syntax_has_colours_even_in_a_text_over_many_lines(compared) -> None:
    file = compared(None, 'def f():\n    """one\n    two"""\n    return 1  # why\n')
    codes = [line.code for line in side(file, "new")]
    assert codes[0].startswith('<span class="k">def</span>') and '<span class="f">f</span>' in codes[0]
    assert '<span class="s">    two&quot;&quot;&quot;</span>' in codes[2]
    assert '<span class="n">1</span>' in codes[3] and '<span class="c"># why</span>' in codes[3]


# ── in a browser ──────────────────────────────────────────────────────────────


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1400, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.problems, page.asked = [], []
    page.on("console", lambda message: page.problems.append(message.text))
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    yield page
    context.close()


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("out") / "diff.html"
    path.write_text(side_by_side.page(all_steps()["05"]), encoding="utf-8")
    return path.as_uri()


def at(page: Page) -> int:
    return page.evaluate("[...document.querySelectorAll('.change')].indexOf(document.activeElement)")


def test_keys_go_from_change_to_change_and_open_what_is_folded(page: Page, lesson: str) -> None:
    page.goto(lesson)
    changes = page.locator(".change").count()
    for key, place in (("j", 0), ("j", 1), ("j", 2), ("k", 1), ("k", 0), ("k", 0)):
        page.keyboard.press(key)
        assert at(page) == place, key
    page.keyboard.press("Control+j")
    assert at(page) == 0
    for _ in range(changes + 3):
        page.keyboard.press("j")
    assert at(page) == changes - 1
    assert page.inner_text("#where") == f"change {changes} of {changes}"
    assert page.evaluate("document.activeElement.getBoundingClientRect().top") < 900
    folded = page.locator("details:not([open])")
    assert folded.count() > 5
    page.locator("summary").first.click()
    page.keyboard.press("o")
    assert folded.count() == 0
    page.keyboard.press("o")
    assert folded.count() == page.locator("details").count()
    assert page.problems == [] and page.asked == [lesson]


@pytest.mark.thorough
def test_wide_is_side_by_side_and_narrow_is_one_column(page: Page, lesson: str) -> None:
    page.goto(lesson)
    both = page.locator(".change:has(.old.line):has(.new.line)").first
    old, new = both.locator(".old.line").first, both.locator(".new.line").first
    assert old.bounding_box()["x"] < new.bounding_box()["x"] and old.bounding_box()["y"] == new.bounding_box()["y"]
    page.set_viewport_size({"width": 400, "height": 800})
    assert old.bounding_box()["x"] == new.bounding_box()["x"] and old.bounding_box()["y"] < new.bounding_box()["y"]
    assert not page.locator(".same .old.line").first.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 400


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_on_what_is_behind_it(scheme: str, page: Page, lesson: str) -> None:
    """WCAG 2.2: 4.5 to 1 or more, for every colour of text on every ground that occurs."""
    page.emulate_media(color_scheme=scheme)
    page.goto(lesson)
    pairs = page.evaluate("""() => {
        const found = new Set();
        for (const element of document.querySelectorAll("code, code *, h1, p, summary, .count *, .line")) {
            let behind = element;
            while (behind.parentElement && getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)")
                behind = behind.parentElement;
            const pair = [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor];
            found.add(JSON.stringify(pair));
        }
        return [...found].map(JSON.parse);
    }""")
    assert len(pairs) > 10
    assert [pair for pair in pairs if contrast(*pair) < 4.5] == []


def contrast(one: str, other: str) -> float:
    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.thorough
def test_what_is_open_is_printed(page: Page, lesson: str) -> None:
    page.goto(lesson)
    folded = page.pdf(format="A4").count(b"/Type /Page\n")
    page.keyboard.press("o")
    assert page.pdf(format="A4").count(b"/Type /Page\n") > folded > 0


def test_code_is_text_whatever_it_says(page: Page, compared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = compared("x = 1\n", HOSTILE)
    monkeypatch.setattr(side_by_side, "compared", lambda *_: file)
    path = tmp_path / "page.html"
    path.write_text(side_by_side.page(all_steps()["05"]), encoding="utf-8")
    page.goto(path.as_uri())
    shown = page.locator("section").first.locator(".new.line code").all_inner_texts()
    assert "\n".join(shown) + "\n" == HOSTILE
    assert page.title() == "Step 05: what is new"
    assert page.locator("img").count() == 0 and page.problems == [] and len(page.asked) == 1


def test_the_policy_lets_no_other_script_run(page: Page, lesson: str) -> None:
    page.goto(lesson)
    policy = page.locator("meta[http-equiv]").get_attribute("content")
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy
    page.evaluate("""() => {
        const script = document.createElement("script");
        script.textContent = "document.title = 'owned'";
        document.body.append(script);
        document.body.insertAdjacentHTML("beforeend", "<img src='http://127.0.0.1:9/x'>");
    }""")
    assert page.title() == "Step 05: what is new"
    assert len([text for text in page.problems if "Content Security Policy" in text]) >= 1
