"""Check yourself: every promise can be kept, can be broken, and is told apart from all others."""

import dataclasses
import json
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest
from mcp.shared.exceptions import MCPError

from attacks.core import NotHere
from attacks.hostile import overheard
from attacks.world import HOME, Remote, World
from checks import everything, show, workplace  # noqa: F401 - everything fills the list of checks
from checks.core import CHECKS, Check, Failed, of
from checks.hint import LAST, hint
from checks.run import Answer, each
from checks.worlds import Home, Own, end_of_traceback
from shared.console import sentence_for
from shared.stop import Stop
from tests import mutations_01_to_04, mutations_05_to_08, scratch
from tests.processes import listening
from tests.scratch import Scratch
from tools.catalogue import Step, all_steps, before, step_named

MUTATIONS = mutations_01_to_04.MUTATIONS | mutations_05_to_08.MUTATIONS
KEPT_BEFORE: dict[str, str] = {}  # promises that the step before keeps already, and why that is so
NUMBERS = tuple(all_steps())
OF_THE_CLIENT = ("discovery.py", "client.py", "token_file.py", "machine.py")


def newest_only(values: Iterable[str], every: int = 1) -> list:
    """What belongs to an older step is for --everything; of the newest, all, or every third."""
    newest = [value for value in values if value[:2] == NUMBERS[-1]][::every]
    return [pytest.param(value, marks=[] if value in newest else pytest.mark.thorough) for value in values]


def broken(step: Step, checks: Iterable[Check]) -> dict[str, str]:
    """The checks that are not kept, and what came instead."""
    with Home(step) as world:
        return {found.check.id: found.why for found in each(world, checks) if found.answer != Answer.KEPT}


def copy_of(step: Step, folder: Path) -> Step:
    shutil.copytree(step.path, folder / step.folder)
    return dataclasses.replace(step, place=folder.as_posix())


# ── the checks ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", newest_only(NUMBERS))
def test_a_step_keeps_its_promises(number: str) -> None:
    assert broken(step_named(number), of(number)) == {}


@pytest.mark.thorough
@pytest.mark.parametrize("number", NUMBERS[1:])
def test_a_step_keeps_the_promises_of_all_before(number: str) -> None:
    assert broken(step_named(number), [check for check in CHECKS.values() if check.step < number]) == {}


@pytest.mark.parametrize("id", newest_only(MUTATIONS, every=3))
def test_one_broken_line_breaks_one_promise(id: str, tmp_path: Path) -> None:
    found = changed(CHECKS[id].step, tmp_path, MUTATIONS[id])
    assert list(found) == [id], found
    assert found[id].strip(), "the student is not told what came instead"


def changed(number: str, folder: Path, *changes: tuple[str, str, str]) -> dict[str, str]:
    """The promises that a step does not keep any more, once this is changed in it."""
    step = copy_of(step_named(number), folder)
    for name, old, new in changes:
        text = (step.path / name).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
        (step.path / name).write_text(text.replace(old, new), encoding="utf-8")
    return broken(step, of(number))


@pytest.mark.thorough
@pytest.mark.parametrize("what", mutations_01_to_04.ALSO)
def test_whoever_keeps_only_half_of_a_promise_does_not_keep_it(what: str, tmp_path: Path) -> None:
    id, *change = mutations_01_to_04.ALSO[what]
    found = changed(CHECKS[id].step, tmp_path, tuple(change))
    assert list(found) == [id], found


FORM = "    ask = once_each(await read_form(request), GRANT_NAMES)\n"
NO_GRANTS = ("tokens.py", FORM, '    raise OAuthError("invalid_grant", "nobody gets anything")\n')
NO_CLIENTS = ("tokens.py", FORM, '    raise OAuthError("invalid_client", "nobody gets anything", 401)\n')
NO_GUESTS = ("bearer.py", "    for rule in BEARER_RULES:\n", "    raise bad_token()\n    for rule in BEARER_RULES:\n")
NO_TO_EVERYBODY = {  # and how many promises of the servers may be kept nevertheless: they are about something else
    "04 no grants": (NO_GRANTS, "04-2 04-3 04-4"),
    "05 no guests": (NO_GUESTS, "05-2"),
    "06 no grants": (NO_GRANTS, ""),
    "06 no guests": (NO_GUESTS, "06-2 06-3 06-4 06-5 06-6"),
    "07 no clients": (NO_CLIENTS, "07-5 07-6 07-7"),
    "08 no clients": (NO_CLIENTS, "08-2 08-3 08-4"),
}


@pytest.mark.thorough
@pytest.mark.parametrize("what", NO_TO_EVERYBODY)
def test_who_says_no_to_everybody_keeps_no_promise_about_whom_to_refuse(what: str, tmp_path: Path) -> None:
    change, others = NO_TO_EVERYBODY[what]
    found = changed(what[:2], tmp_path, change)
    of_servers = {check.id for check in of(what[:2]) if check.file not in OF_THE_CLIENT}
    assert of_servers - set(found) == set(others.split())
    if "05-3" in found:
        assert (
            "An honest token is not let in either: POST /mcp with a token answered 401 invalid_token" in found["05-3"]
        )


BY_PYJWT = (
    ("bearer.py", "    within_its_time,\n", ""),
    (
        "bearer.py",
        'jwt.PyJWS().decode(token.raw, key, algorithms=["RS256"])',
        'jwt.decode(token.raw, key, algorithms=["RS256"], leeway=LEEWAY, options={"verify_aud": False})',
    ),
)


@pytest.mark.thorough
def test_a_door_that_leaves_times_to_a_library_keeps_all_promises(tmp_path: Path) -> None:
    assert changed("05", tmp_path, *BY_PYJWT) == {}


def test_for_every_promise_a_line_is_known_that_breaks_it() -> None:
    assert set(MUTATIONS) == set(CHECKS)


@pytest.mark.parametrize("number", newest_only(NUMBERS[1:]))
def test_no_promise_is_kept_by_the_step_before(number: str) -> None:
    found = set(broken(before(step_named(number)), of(number)))
    assert {check.id for check in of(number)} - found == {id for id in KEPT_BEFORE if id[:2] == number}


@pytest.mark.parametrize("number", NUMBERS)
def test_a_step_has_few_promises_and_each_is_a_sentence_with_help(number: str) -> None:
    assert 5 <= len(of(number)) <= 16
    for check in of(number):
        assert check.promise.endswith(".") and check.promise[0].isupper() and "\n" not in check.promise, check.id
        assert check.section.startswith(("RFC ", "OAuth 2.1 ", "MCP", "OpenID ")) or check.section == "own", check.id
        assert len({check.promise, *check.hints}) == 3 and all(text[-1] in ".?" for text in check.hints), check.id


@pytest.mark.parametrize("id", list(MUTATIONS))
def test_the_last_hint_is_the_code_of_the_lesson_and_the_others_are_not(id: str) -> None:
    check = CHECKS[id]
    shown = hint(check, LAST)
    assert check.rule in shown
    program = (step_named(check.step).path / check.file).read_text(encoding="utf-8")
    assert any(row.lstrip("+ ") in program for row in shown.splitlines() if row.strip("+ "))
    assert shown not in check.hints


# ── what a student's own program can do ───────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("def main( -> None:", "client.py, line 1: SyntaxError"),
        ("raise SystemExit(3)", "client.py, line 1: SystemExit: 3"),
        ("main = None", "client.py has no function main"),
        ("import nothing_of_that_name", "client.py, line 1: ModuleNotFoundError: No module named"),
    ],
)
def test_a_client_that_cannot_be_loaded_is_a_broken_promise_and_says_where(
    line: str, told: str, tmp_path: Path
) -> None:
    step = copy_of(step_named("01"), tmp_path)
    (step.path / "client.py").write_text(line + "\n", encoding="utf-8")
    found = broken(step, [CHECKS["01-10"]])
    assert found["01-10"].startswith(told)


@pytest.mark.parametrize(
    ("id", "name", "old", "told"),
    [
        ("02-7", "client.py", "", "There is no client.py."),
        ("02-7", "discovery.py", "", "There is no discovery.py, and client.py, line "),
        (
            "02-7",
            "discovery.py",
            "def find_server(",
            "ImportError: cannot import name 'find_server' from 'discovery.py'",
        ),
    ],
)
def test_what_is_missing_is_told_without_the_names_that_we_gave_it(
    id: str, name: str, old: str, told: str, tmp_path: Path
) -> None:
    step = copy_of(step_named("02"), tmp_path)
    text = (step.path / name).read_text(encoding="utf-8")
    (step.path / name).write_text(text.replace(old, "def gone("), encoding="utf-8") if old else (
        step.path / name
    ).unlink()
    why = broken(step, [CHECKS[id]])[id]
    assert told in why and "loaded_" not in why and str(tmp_path) not in why


TRIPS = ("tokens.py", "    for rule in CODE_RULES:\n", '    grant["nothing"]\n    for rule in CODE_RULES:\n')


def test_where_a_server_broke_is_said_with_file_and_line(tmp_path: Path) -> None:
    found = changed("04", tmp_path, TRIPS)
    asked, broke = found["04-9"].splitlines()[0], found["04-9"].splitlines()[-1]
    assert asked == "POST /token answered 500."
    assert broke.startswith("The server broke in tokens.py, line ") and broke.endswith(": KeyError: 'nothing'")
    assert "04-4" not in found


TRACE = """Exception in ASGI application
  + Exception Group Traceback (most recent call last):
  |   File "/lib/starlette/app.py", line 7, in __call__
  | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "/x/work/step-05/bearer.py", line 41, in who_is_it
    |     key = keys[kid]
    |           ~~~~^^^^^
    |   File "/lib/dict.py", line 3, in get
    |     raise KeyError(name)
    | KeyError: 'the kid'
    +------------------------------------
"""


def test_where_it_broke_is_found_in_a_log() -> None:
    assert end_of_traceback(TRACE, "step-05") == "bearer.py, line 41: KeyError: 'the kid'"
    assert end_of_traceback(TRACE.replace("    | ", ""), "step-05") == "bearer.py, line 41: KeyError: 'the kid'"
    assert end_of_traceback(TRACE, "step-04") == "" and end_of_traceback("", "step-05") == ""


def test_what_was_asked_expected_and_came_is_said(tmp_path: Path) -> None:
    found = changed("04", tmp_path / "plain", MUTATIONS["04-4"])
    assert found["04-4"] == (
        "GET /authorize with code_challenge_method=plain answered 200 (a page: Allow A test in?).\n"
        "Expected: 303 back to the client, with iss and with error invalid_request."
    )
    found = changed("05", tmp_path / "audience", MUTATIONS["05-3"])
    assert found["05-3"].startswith("It got in: POST /mcp with a token whose aud is ")
    assert found["05-3"].endswith("Token for another audience (ATK-050), to be refused as RFC 9068 §4 says.")


def test_what_is_said_holds_no_secret(tmp_path: Path) -> None:
    found = changed("04", tmp_path, TRIPS)
    assert "client_secret=…" in found["04-12"]
    assert not [why for why in found.values() if "eyJ" in why or "code=" in why]


def test_a_client_of_the_step_before_ends_in_a_sentence() -> None:
    assert "(Server returned an error response)" in sentence_for(MCPError(-1, "Server returned an error response"))


def test_a_client_without_an_end_ends_the_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("checks.run.PATIENCE", 1)
    step = copy_of(step_named("01"), tmp_path)
    (step.path / "client.py").write_text("import time\nmain = lambda: time.sleep(2)\n", encoding="utf-8")
    found = broken(step, [check for check in of("01") if check.file == "discovery.py"])
    assert list(found) == ["01-8"]
    assert "did not come to an end" in found["01-8"]
    for thread in threading.enumerate():
        if thread.name == "check 01-8":
            thread.join()


def test_a_server_that_does_not_answer_ends_the_checks() -> None:
    def ask(_: World) -> None:
        raise httpx2.ReadTimeout("", request=httpx2.Request("GET", "http://localhost:9/health"))

    with Home(step_named("01")) as world:
        found = list(each(world, [dataclasses.replace(CHECKS["01-1"], run=ask), CHECKS["01-2"]]))
    assert [result.answer for result in found] == [Answer.BROKEN]
    assert "took too long to answer" in found[0].why


def test_what_the_network_cannot_tell_is_asked_of_the_programs_themselves() -> None:
    def ask(world: World) -> None:
        if isinstance(world, Remote):
            raise NotHere("needs a second address")
        raise Failed("This was asked at home.")

    with Own(step_named("01")) as world:
        found = list(each(world, [dataclasses.replace(CHECKS["01-1"], run=ask), CHECKS["01-8"]]))
    assert [(result.answer, result.why) for result in found] == [
        (Answer.BROKEN, "This was asked at home."),
        (Answer.KEPT, ""),
    ]


def test_what_the_programs_do_not_have_is_a_broken_promise_and_not_left_out() -> None:
    def ask(_: World) -> None:
        raise NotHere("no refresh tokens")

    with Own(step_named("01")) as world:
        found = list(each(world, [dataclasses.replace(CHECKS["01-1"], run=ask)]))
    assert [(result.answer, result.why) for result in found] == [
        (Answer.BROKEN, "It is not offered: no refresh tokens.")
    ]


# ── where a student builds ────────────────────────────────────────────────────────────────────────


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own instead of work/."""
    monkeypatch.setattr(workplace, "WORK", tmp_path)
    monkeypatch.setattr(workplace, "mine", lambda step: built_in(tmp_path, step.number))
    monkeypatch.setenv("OUT", str(tmp_path / "out"))
    return tmp_path


def built_in(work: Path, number: str) -> Step:
    return dataclasses.replace(step_named(number), place=work.as_posix(), folder=f"step-{number}")


def told(step: Step, hint: int = 1) -> tuple[int, str]:
    """The exit code of a check in this process, and what it says."""
    with Home(step) as world, overheard() as rows:
        code = show.told(step, world, show.Wish(hint), remembered=True)
    return code, rows[0]


def said(act: Callable[[], object]) -> str:
    with overheard() as rows:
        act()
    return rows[0]


@pytest.mark.parametrize("number", NUMBERS)
def test_what_start_makes_runs_and_solves_nothing(number: str, work: Path) -> None:
    text, step = said(lambda: workplace.start(number)), step_named(number)
    assert f"check {number}" in text and "steps/" in text
    previous = before(step) if number > NUMBERS[0] else None
    for name in step.files:
        made = (work / f"step-{number}" / name).read_text(encoding="utf-8")
        if previous and name in previous.files:
            assert made == (previous.path / name).read_text(encoding="utf-8")
        else:
            assert made.startswith('"""Step') and "# ── " in made and "def " not in made, name
    with Home(built_in(work, number)) as world:
        servers = [world.auth, world.mcp]
        if "upstream.py" in step.files:
            servers.append(world.client(world.loaded.module("upstream").app, "http://localhost", HOME))
        assert [server.get("/health").json() for server in servers] == [{"status": "ok"}] * len(servers)


def test_start_overwrites_nothing_and_reset_keeps_what_was_there(work: Path) -> None:
    said(lambda: workplace.start("02"))
    (work / "step-02" / "client.py").write_text("my own", encoding="utf-8")
    with pytest.raises(Stop, match="is there already"):
        workplace.start("02")
    workplace.remember(step_named("02"), 7, 10)
    assert "step-02-1" in said(lambda: workplace.reset("02"))
    assert "step-02-2" in said(lambda: workplace.reset("02"))
    assert (work / "old" / "step-02-1" / "client.py").read_text(encoding="utf-8") == "my own"
    assert (work / "step-02" / "client.py").read_text(encoding="utf-8") != "my own"
    assert "7 of 10" not in said(workplace.progress)


def test_what_was_started_is_red_and_what_the_lesson_adds_makes_it_green(work: Path) -> None:
    said(lambda: workplace.start("03"))
    code, text = told(built_in(work, "03"))
    assert code == 1 and "Steps 01 to 02: still kept." in text and "0 of 12 promises kept." in text
    assert "no  03-4 " in text and "https_or_loopback in clients.py, RFC 9700 §2.6, §4.1.3" in text
    first, second = CHECKS["03-4"].hints
    assert first in text and second not in text and "--hint 2" in text
    assert second in told(built_in(work, "03"), 2)[1]
    assert "def https_or_loopback(metadata: dict) -> None:" in told(built_in(work, "03"), 3)[1]
    shutil.copytree(step_named("03").path, work / "step-03", dirs_exist_ok=True)
    code, text = told(built_in(work, "03"))
    assert code == 0 and text.count("\nok ") == 12 and text.endswith("12 of 12 promises kept.\n")
    assert "12 of 12 promises kept" in said(workplace.progress)


def test_one_promise_can_be_asked_alone(work: Path) -> None:
    said(lambda: workplace.start("03"))
    with Home(built_in(work, "03")) as world, overheard() as rows:
        assert show.told(step_named("03"), world, show.Wish(3, ("03-4", "01-1")), remembered=True) == 1
    assert "\n1 of 2 promises kept; the others were not asked." in rows[0]
    assert rows[0].count("def https_or_loopback") == 1 and "03-5" not in rows[0] and "still kept" not in rows[0]
    assert workplace.remembered() == {}


def test_a_promise_is_named_in_any_way_that_can_only_mean_it() -> None:
    step = step_named("05")
    assert show.named_in("05-3", step) == show.named_in("5-3", step) == show.named_in("3", step) == ("05-3",)
    assert show.named_in("05-4, 04-1 4", step) == ("05-4", "04-1") and show.named_in("", step) == ()
    for odd in ("05-99", "06-1", "x", "05-", "-"):
        with pytest.raises(Stop, match="There is no promise"):
            show.named_in(odd, step)


def test_the_line_to_type_asks_the_same_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    step, theirs = step_named("05"), show.Wish(1, (), "https://as.example", "https://mcp.example/mcp")
    elsewhere = "python -m steps check 05 --as https://as.example --mcp https://mcp.example/mcp"
    monkeypatch.delenv("MAKELEVEL", raising=False)
    assert theirs.command(step, 2) == f"{elsewhere} --hint 2"
    assert show.Wish(1, ("05-3",)).command(step, 2) == "python -m steps check 05 --only 05-3 --hint 2"
    monkeypatch.setenv("MAKELEVEL", "1")
    assert theirs.command(step, 2, only="05-3") == f"{elsewhere} --only 05-3 --hint 2"
    assert show.Wish(1, ("05-3",)).command(step, 2) == "make check-05 HINT=2 ONLY=05-3"


def test_a_broken_promise_of_an_earlier_step_is_named(tmp_path: Path) -> None:
    step = copy_of(step_named("02"), tmp_path)
    text = (step.path / "mcp_server.py").read_text(encoding="utf-8").replace("[ISSUER]", "[]")
    (step.path / "mcp_server.py").write_text(text, encoding="utf-8")
    with Home(step) as world, overheard() as rows:
        assert show.told(step, world, show.Wish(), remembered=False) == 1
    assert (
        "Step 01: broken." in rows[0]
        and "no  01-7 " in rows[0]
        and "\n10 of 10 promises kept; of those of the steps before" in rows[0]
    )


def test_progress_says_what_to_do_next(work: Path) -> None:
    def now() -> str:
        return said(workplace.progress)

    assert "Next, watch step 01" in now()
    left = work / "out" / "step-01" / "trace.json"
    left.parent.mkdir(parents=True)
    left.write_text('{"outcome": "Nobody answers."}', encoding="utf-8")
    assert "Next, watch step 01" in now()
    left.write_text('{"outcome": ""}', encoding="utf-8")
    assert "Next, watch step 02" in now()
    (work / "step-03").mkdir()
    assert "Build step 03" in now()
    workplace.remember(step_named("03"), 3, 12)
    assert "3 of 12 promises kept" in now() and "Go on with step 03, 9 of whose promises are left" in now()
    workplace.remember(step_named("03"), 12, 12)
    assert "12 of 12 promises kept" in now() and "Next, watch step 02" in now()
    (work / "progress.json").write_text("[broken", encoding="utf-8")
    assert "Build step 03" in now()


# ── servers of somebody else ──────────────────────────────────────────────────────────────────────


class AnotherFramework(BaseHTTPRequestHandler):
    """Both servers of step 02, with nothing but what Python brings."""

    def answer(self) -> None:
        origin = f"http://127.0.0.1:{self.server.server_port}"
        about, metadata = (
            f"{origin}/.well-known/oauth-protected-resource",
            {
                "issuer": origin,
                "authorization_endpoint": f"{origin}/authorize",
                "token_endpoint": f"{origin}/token",
                "code_challenge_methods_supported": ["S256"],
                "protected_resources": [f"{origin}/mcp"],
            },
        )
        resource = {"resource": f"{origin}/mcp", "authorization_servers": [origin]}
        documents = {"oauth-authorization-server": metadata}
        documents |= {"oauth-protected-resource": resource, "oauth-protected-resource/mcp": resource}
        found = documents.get(self.path.removeprefix("/.well-known/"))
        self.send_response(401 if self.path == "/mcp" else 200 if found else 501)
        self.send_header("WWW-Authenticate", f'Bearer resource_metadata="{about}/mcp"')
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def another() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), AnotherFramework)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_servers_made_with_another_framework_are_checked_by_their_addresses(another: str, work: Path) -> None:
    with overheard() as rows:
        code = show.check("02", issuer=another, resource=f"{another}/mcp")
    assert code == 0, rows
    assert "Step 01: still kept." in rows[0] and rows[0].count("\nok ") == 6
    assert rows[0].count("left out: the client is not a server") == 4
    assert "\n6 of 6 promises kept, 4 left out." in rows[0]


def test_what_such_servers_do_not_keep_is_broken(another: str, work: Path) -> None:
    with overheard() as rows:
        code = show.check("03", issuer=another, resource=f"{another}/mcp")
    assert code == 1 and "\n0 of 10 promises kept, 2 left out." in rows[0]
    assert "POST /register answered 501, not 201." in rows[0]


def test_servers_that_nobody_runs_are_one_sentence() -> None:
    with pytest.raises(httpx2.ConnectError) as error, overheard():
        show.check("02", issuer="http://localhost:9", resource="http://localhost:9/mcp")
    assert sentence_for(error.value).startswith("Nobody answers at http://localhost:9/")


# ── by the command ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    return scratch.make(tmp_path_factory.mktemp("course"))


def test_a_student_starts_and_checks_by_two_commands(course: Scratch) -> None:
    shutil.rmtree(course.root / "work", ignore_errors=True)
    assert course.steps("start", "01").code == 0
    for name in ("mcp_server.py", "bearer.py"):
        shutil.copyfile(course.file("01", name), course.root / "work" / "step-01" / name)
    found = course.steps("check", "01")
    assert found.code == 1 and "These programs: work/step-01" in found.out and listening() == []
    assert found.out.count("\nok ") == 7 and "\n7 of 11 promises kept." in found.out


@pytest.mark.thorough
def test_a_slip_of_the_pen_is_shown_where_it_is(course: Scratch) -> None:
    shutil.rmtree(course.root / "work", ignore_errors=True)
    shutil.copytree(step_named("01").path, course.root / "work" / "step-01")
    (course.root / "work" / "step-01" / "bearer.py").write_text("def no_token( -> None:\n", encoding="utf-8")
    found = course.steps("check", "01")
    assert found.code == 1 and "The mcp_server stopped as soon as it started." in found.err and listening() == []
    assert "bearer.py" in found.err and "SyntaxError" in found.err and "runpy" not in found.err


@pytest.mark.thorough
def test_the_last_step_keeps_all_promises_over_the_network(course: Scratch) -> None:
    shutil.rmtree(course.root / "work", ignore_errors=True)
    number, count = NUMBERS[-1], len(of(NUMBERS[-1]))
    found = course.steps("check", number, timeout=240)
    assert found.code == 0 and listening() == [], found.out
    assert found.out.count("\nok ") == count and f"\n{count} of {count} promises kept." in found.out
    assert "still kept." in found.out and "left out" not in found.out


def test_a_check_is_numbered_in_the_order_of_the_story() -> None:
    for number in NUMBERS:
        assert [check.id for check in of(number)] == [f"{number}-{n + 1}" for n in range(len(of(number)))]
