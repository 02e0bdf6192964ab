"""What is printed: whole where it may be, shortened where it is secret, and never an accident."""

import json

import httpx2
import pytest

from shared import console, shortening


def said(capsys: pytest.CaptureFixture, answer: httpx2.Response) -> str:
    console.out.file = None
    console.show(answer)
    return capsys.readouterr().out


def answer(content: object, **options: object) -> httpx2.Response:
    request = httpx2.Request("POST", "http://localhost:9000/token", **options)
    return httpx2.Response(200, json=content, request=request)


@pytest.mark.parametrize(
    "value",
    [
        [True] * 40,
        ["a"] * 40,
        {"a": [1] * 40},
        {"a": {"b": ["a long text that needs a line of its own"] * 3}},
        [],
        {},
        1,
        None,
    ],
)
def test_json_stays_json_however_it_is_laid_out(value: object) -> None:
    assert json.loads(console.laid_out(value)) == value


@pytest.mark.parametrize(
    "url", ["?code=AAAA%2Fsecret", "?state=x&code=AAAAsecret&iss=y", "?client_secret=AAAAsecret#x"]
)
def test_a_secret_in_an_address_is_shortened(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "secret#" not in shortening.shortened_url(url) and "ecret" not in shortening.shortened_url(url).replace(
        "client_secret", ""
    )
    monkeypatch.setattr(shortening, "REVEAL", True)
    assert shortening.shortened_url(url) == url


def test_secrets_in_headers_forms_and_answers_are_shortened(capsys: pytest.CaptureFixture) -> None:
    form = {"code": "C" * 30, "code_verifier": "V" * 43, "client_id": "public"}
    headers = {"Authorization": "Bearer " + "T" * 40}
    content = {"access_token": "A" * 40, "inner": [{"refresh_token": "R" * 40}], "token_type": "Bearer"}
    text = said(capsys, answer(content, data=form, headers=headers))
    for letter in "CVTAR":
        assert letter * 6 in text and letter * 7 not in text
    assert "public" in text


@pytest.mark.parametrize("text", ["[bold]not markup[/]", "back\\[slash", "[/]", "\x1b[31mred"])
def test_what_others_sent_is_no_markup(capsys: pytest.CaptureFixture, text: str) -> None:
    console.line(text)
    assert text.replace("\x1b", "") in capsys.readouterr().out.replace("\x1b", "")


@pytest.mark.parametrize("token", ["opaque", "a.b.c", "W10.W10.x", "bnVsbA.bnVsbA.x", "", "é.é.é"])
def test_a_token_that_is_no_jwt_is_said_to_be_none(capsys: pytest.CaptureFixture, token: str) -> None:
    console.show_token(token)
    assert "This token is no JWT" in capsys.readouterr().out
