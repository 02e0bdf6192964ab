"""The error museum: every string in it really appears, and the page about them says what the exhibits say."""

import os
import re
import shutil
import sys
import threading
from dataclasses import replace

import pytest

from exhibits import core, document, everything  # noqa: F401 - fills the museum
from exhibits.__main__ import main
from exhibits.core import CHROMIUM, EXHIBITS, Exhibit
from shared.stop import Stop
from tests.processes import Ran, finished, until
from tools.catalogue import all_steps
from tools.environment import ROOT


def command(*words: str) -> Ran:
    return finished([sys.executable, "-m", "exhibits", *words], ROOT, 240)


def one_test_each() -> list:
    marks = {True: [pytest.mark.thorough], False: []}
    return [pytest.param(exhibit, id=exhibit.name, marks=marks[exhibit.slow]) for exhibit in EXHIBITS.values()]


@pytest.mark.parametrize("exhibit", one_test_each())
def test_the_string_appears_and_nothing_is_left_running(exhibit: Exhibit, capsys: pytest.CaptureFixture) -> None:
    if why := exhibit.missing():
        assert exhibit.needs != CHROMIUM or not os.environ.get("CI"), "CI must have Chromium"
        pytest.skip(why)
    before = set(threading.enumerate())
    code = main([exhibit.name])
    said, _, explained = capsys.readouterr().out.rpartition(f"\nThis: {exhibit.text}")
    assert code == 0
    assert exhibit.appears_in(said)
    assert exhibit.cause in explained and exhibit.cure in explained
    assert until(lambda: set(threading.enumerate()) <= before), set(threading.enumerate()) - before


def test_a_string_that_does_not_appear_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    healthy = replace(EXHIBITS["invalid-host"], happen=lambda: "HTTP/1.1 200 OK")
    monkeypatch.setitem(EXHIBITS, "invalid-host", healthy)
    assert main(["invalid-host"]) == 1
    assert "Not there: Invalid Host header" in capsys.readouterr().out


def test_what_differs_every_time_may_be_anything_but_must_be_on_one_line() -> None:
    exhibit = replace(EXHIBITS["invalid-host"], text="issuer mismatch: … != …")
    assert exhibit.appears_in("before\nissuer mismatch: http://a != http://b\nafter")
    assert not exhibit.appears_in("issuer mismatch: http://a\n != http://b")
    assert not exhibit.appears_in("an issuer mismatch")


def test_what_the_computer_lacks_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    for exhibit in (one for one in EXHIBITS.values() if one.needs in (core.CURL, core.CHROMIUM, core.TYPESCRIPT)):
        with pytest.raises(Stop, match=f"^This needs {re.escape(exhibit.needs)}"):
            main([exhibit.name])


def test_nobody_reads_the_same_string_twice() -> None:
    texts = [exhibit.text for exhibit in EXHIBITS.values()]
    assert len(texts) == len(set(texts)) >= 25


# ── the page ──────────────────────────────────────────────────────────────────


def test_the_page_is_what_the_exhibits_say() -> None:
    assert document.PATH.is_file(), "python -m exhibits --write"
    assert document.PATH.read_text(encoding="utf-8") == document.text(), "stale: python -m exhibits --write"


def test_every_string_stands_alone_in_a_block_so_that_a_search_finds_it() -> None:
    blocks = re.findall(r"```text\n(.*?)\n```", document.text(), re.DOTALL)
    assert blocks == [exhibit.text for exhibit in EXHIBITS.values()]
    assert not any("\n" in block for block in blocks)


def test_every_link_leads_somewhere() -> None:
    page = document.text()
    headings = set(re.findall(r"^### (.+)$", page, re.MULTILINE))
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert len(links) == 2 * len(EXHIBITS)
    for target in links:
        if target.startswith("#"):
            assert target[1:] in headings
        else:
            assert (document.PATH.parent / target).is_file(), target


def test_every_step_has_an_exhibit() -> None:
    assert {exhibit.step for exhibit in EXHIBITS.values()} == set(all_steps())


# ── the command ───────────────────────────────────────────────────────────────


@pytest.mark.thorough
def test_without_a_name_all_are_listed() -> None:
    ran = command()
    assert ran.code == 0, ran.err
    assert [name for name in EXHIBITS if f"  {name} " not in ran.out] == []


@pytest.mark.thorough
def test_as_a_stranger_runs_it() -> None:
    ran = command("invalid-host")
    assert (ran.code, ran.err) == (0, "")
    assert "421 Misdirected Request" in ran.out


@pytest.mark.thorough
def test_an_unknown_name_is_one_sentence() -> None:
    ran = command("nothing-like-that")
    assert ran.code == 1
    assert ran.err.strip() == "There is no exhibit 'nothing-like-that'. `python -m exhibits` lists them."
