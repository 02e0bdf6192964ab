"""What is printed: whole where it may be, shortened where it is secret, and never an accident."""

import base64
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


S = "S3CRETopaqueS3CRETopaque0123456789"
FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    "address",
    [
        f"http://h/cb?code={S}",
        f"http://h/cb?%63ode={S}",
        f"http://h/cb?CODE={S}&x=1",
        f"http://h/cb#state=1&access_token={S}",
        f"http://h/cb?next=%2Fcb%3Fcode%3D{S}",
        f"http://h/x?next=http://h/cb?code={S}",
        f"http://h/x?a=1;code[]={S}",
        f"http://user:{S}@h/",
        f"http://h/x?id_token_hint={S}",
        f"http://h/t/eyJhbGciOiJSUzI1NiJ9.e30.{S}",
    ],
)
def test_no_secret_travels_in_an_address_that_is_shown(address: str) -> None:
    assert S not in shortening.shortened_url(address)
    assert S not in shortening.shown_header("location", address)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("authorization", f"Bearer {S}"),
        ("authorization", f"Bearer\t{S}"),
        ("authorization", f"Bearer{S}"),
        ("authorization", S),
        ("proxy-authorization", f"Basic {S}"),
        ("x-api-key", S),
        ("cookie", f"a=1; b={S}"),
        ("cookie", S),
        ("set-cookie", f"a={S}; Path=/"),
        ("referer", f"http://h/cb?code={S}"),
        ("refresh", f"0;url=/cb?code={S}"),
    ],
)
def test_no_secret_is_in_a_header_that_is_shown(name: str, value: str) -> None:
    assert S not in shortening.shown_header(name, value)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (f"code={S}&a=b", FORM),
        (f"co%64e={S}", FORM),
        (f"request={S}", FORM),
        (f"assertion={S}", f"{FORM}; charset=utf-8"),
        (f"code={S}", "text/plain"),
        (json.dumps({"Access_Token": S}), "application/json"),
        (json.dumps({"accessToken": [S]}), "application/json"),
        (json.dumps({"text": json.dumps({"access_token": S})}), "application/json"),
        (json.dumps({"uri": f"http://h/cb?code={S}"}), "application/json"),
        (json.dumps({"text": f"Bearer {S}"}), "application/json"),
        (json.dumps({"access_token": S}), "text/plain"),
        (f"<h1>Bad</h1><p>the code {S}</p>", "text/html"),
        (f"data: {S}", "text/event-stream"),
    ],
)
def test_no_secret_is_in_a_body_that_is_shown(body: str, kind: str) -> None:
    assert S not in shortening.shown_body(body.encode(), kind)


def test_what_is_no_secret_stays_as_it_is() -> None:
    message = {"jsonrpc": "2.0", "error": {"code": -32020, "message": "no"}, "state": "x" * 43, "n": [1, None, True]}
    assert json.loads(shortening.shown_body(json.dumps(message).encode(), "application/json")) == message
    assert shortening.shortened_url("http://h/a?state=1&iss=http%3A%2F%2Fh") == "http://h/a?state=1&iss=http%3A%2F%2Fh"
    assert (
        shortening.shown_header("www-authenticate", 'Bearer realm="mcp", error="x"') == 'Bearer realm="mcp", error="x"'
    )


@pytest.mark.parametrize("piece", ["<h1>", "eyJ", "?a=", "%2525", "&a=&", '{\\"', "://", "ab1-", "Bearer 1 ", "=?;#&"])
def test_shortening_does_not_take_longer_the_odder_it_is(piece: str) -> None:
    """A pattern that backtracks would take minutes for this; how long it takes, nobody measures here."""
    text = piece * (60_000 // len(piece))
    for kind in ("text/html", "text/plain", FORM, "application/json"):
        shortening.shown_body((text if kind != "application/json" else json.dumps({"a": text})).encode(), kind)
    shortening.shown_header("x-anything", text)


@pytest.mark.parametrize("number", ["NaN", "1e999", "-Infinity"])
def test_a_claim_that_is_no_number_of_json_makes_no_page_fail(number: str) -> None:
    claims = base64.urlsafe_b64encode(f'{{"exp": {number}}}'.encode()).decode().rstrip("=")
    found = shortening.taken_apart(f"e30.{claims}.x")
    assert found is None or json.dumps(found, allow_nan=False)
