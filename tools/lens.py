"""A token under a lens: what it says, and which rule of step 05 would refuse it, and why.

Nothing is believed and nothing is written down. The token itself and its signature are never shown, and it is sent to
nobody but the MCP server that it is to be tried on.
"""

import asyncio
import base64
import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from shared import addresses, console
from shared.shortening import without_tokens
from tools import lens_door, lens_rules
from tools.lens_words import HEADER_WORDS, MOMENTS, UNKNOWN, WORDS, moment

NOBODY_REFUSES, REFUSED, NO_TOKEN = 0, 1, 2
LARGEST = 100_000  # bytes
LONGEST_VALUE = 300  # characters
LOOKS_LIKE_ONE = re.compile(r"(?:bearer\s+)?[\w-]{10,}\.[\w-]{2,}\.[\w-]*(?:\.[\w-]*\.[\w-]*)?", re.I)
IN_A_LINE = re.compile(r"[\w-]{10,}(?:\.[\w-]*){2,4}")
PASTE = "Paste the token and press Enter (it is not shown): "


class NoToken(Exception):
    """What was given cannot be taken apart. The message is a sentence."""


@dataclass(frozen=True)
class Taken:
    """A JWT taken apart: nothing in it is verified."""

    raw: str
    header: dict
    claims: dict
    twice: list[str] = field(default_factory=list)  # names that one of the two objects has more than once


def look(source: str | None = None, issuer: str | None = None, resource: str | None = None) -> int:
    """Show the token in `source` (a file, `-` for the input, None for either the input or a question).

    0: no rule refuses it; 1: one does; 2: there is no token to look at.
    """
    try:
        taken = take_apart(token_in(text_from(source)))
    except NoToken as no:
        console.err.print(Text(str(no), "red"), soft_wrap=True)
        return NO_TOKEN
    if lens_rules.unsigned(taken):
        why = "It is not signed, for its alg is none: anybody can write such a token. RFC 8725 §2.1"
        console.line((f"\n{why}", "bold red"), indent="")
    show(taken)
    door = lens_door.Door(issuer or addresses.ISSUER, resource or addresses.RESOURCE)
    verdicts = asyncio.run(lens_rules.judge(taken, door))
    show_verdicts(verdicts, door)
    for row in lens_door.at_the_door(taken.raw, door):
        console.line(row)
    return REFUSED if any(verdict.state == lens_rules.REFUSED for verdict in verdicts) else NOBODY_REFUSES


# ── where it comes from ───────────────────────────────────────────────────────────────────────────


def text_from(source: str | None) -> str:
    if source not in (None, "-"):
        return readable(bytes_of_file(source))
    if source is None and sys.stdin.isatty():
        return pasted()
    return readable(sys.stdin.buffer.read(LARGEST + 1))


def bytes_of_file(name: str) -> bytes:
    path = Path(name)
    try:
        with path.open("rb") as file:
            return file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        if LOOKS_LIKE_ONE.fullmatch(name.strip()):
            raise NoToken(
                "That looks like a token. A command line is kept in the history of the shell and seen by every program "
                "on this computer: put the token into a file, or give none and paste it when asked."
            ) from None
        why = getattr(error, "strerror", None) or "no file can be called that"
        raise NoToken(f"{shown(name)} cannot be read: {why}. Name a file, or - for the input.") from None


def readable(content: bytes) -> str:
    if len(content) > LARGEST:
        raise NoToken(f"That is more than {LARGEST} bytes: no token is as long as that. Give only the token.")
    encoding = (
        "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    )  # PowerShell writes the first
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise NoToken("That is not text. A token is one line of letters, digits, dots, - and _.")
    return text


def pasted() -> str:
    """One line from the terminal, not echoed. A terminal in its usual mode would cut a long line short."""
    try:
        import termios
    except ImportError:
        import getpass

        return getpass.getpass(PASTE)
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    quiet = [*before[:3], before[3] & ~(termios.ECHO | termios.ICANON), *before[4:]]
    said = b""
    try:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, quiet)
        print(PASTE, end="", file=sys.stderr, flush=True)  # from here on nothing is echoed, however soon it comes
        while not said.strip() or said[-1:] not in b"\r\n\x04":
            more = sys.stdin.buffer.raw.read(1)
            if not more or more == b"\x04" or len(said) > LARGEST:
                break
            said += more
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
        print(file=sys.stderr)
    return readable(said)


def token_in(text: str) -> str:
    """The token in a text: alone, in a header line, in a command, or the `access_token` of a JSON document."""
    text = text.strip()
    if not text:
        raise NoToken("There is nothing to look at: the input is empty.")
    if text.startswith(("{", "[")):
        return token_in_json(text)
    text = re.sub(r"^(?:authorization\s*:\s*)?(?:bearer|dpop)\s+", "", text, flags=re.I).strip("\"'")
    whole = "".join(text.split())  # a terminal breaks long lines, and so does who copies from it
    if len(text.split()) == 1 or re.fullmatch(r"eyJ[\w-]+\.[\w-]+\.[\w-]*", whole):
        return whole
    found = list(dict.fromkeys(IN_A_LINE.findall(text)))
    if len(found) == 1:
        return found[0]
    if found:
        raise NoToken(f"There are {len(found)} tokens in it. Give only the one to look at.")
    raise NoToken("There is no token in it. Give the token alone, its Authorization header, or JSON with access_token.")


def token_in_json(text: str) -> str:
    try:
        found = list(dict.fromkeys(access_tokens(json.loads(text))))
    except (ValueError, RecursionError):
        raise NoToken("That begins like JSON and is none.") from None
    if not found:
        raise NoToken("There is no access_token in this JSON document.")
    if len(found) > 1:
        console.note(f"There are {len(found)} access tokens in it: this is the first.")
    return found[0].strip()


def access_tokens(value: object) -> list[str]:
    if isinstance(value, list):
        return [token for inner in value for token in access_tokens(inner)]
    if not isinstance(value, dict):
        return []
    here = [value["access_token"]] if isinstance(value.get("access_token"), str) else []
    return here + [token for inner in value.values() for token in access_tokens(inner)]


# ── what it says ──────────────────────────────────────────────────────────────────────────────────


def take_apart(raw: str) -> Taken:
    parts = raw.split(".")
    if len(parts) == 5:
        raise NoToken(
            "This token is encrypted: a JWE has five parts, RFC 7516 §3.1. Only whoever has the key can read it."
        )
    if len(parts) != 3:
        raise NoToken(
            f"This is no JWT: it has {len(parts)} part{'s' * (len(parts) > 1)}, and a JWT has three, with dots between "
            "them. Only the server that made it knows what it means, as with a refresh token or a code."
        )
    twice: list[str] = []
    header = an_object("first part, the header,", parts[0], twice)
    claims = an_object("second part, the claims,", parts[1], twice)
    if not re.fullmatch(r"[\w-]*", parts[2], re.ASCII):
        raise NoToken("The third part, the signature, is not base64url: the token was changed or cut short.")
    return Taken(raw, header, claims, twice)


def an_object(name: str, part: str, twice: list[str]) -> dict:
    """RFC 7515 §7.1: base64url without padding, and in it one JSON object."""

    def once(pairs: list[tuple[str, object]]) -> dict:
        names = [name for name, _ in pairs]
        twice.extend(name for name in dict.fromkeys(names) if names.count(name) > 1)
        return dict(pairs)

    if not re.fullmatch(r"[\w-]+", part, re.ASCII) or len(part) % 4 == 1:
        raise NoToken(f"The {name} is not base64url: the token was changed, cut short or broken into lines.")
    try:
        found = json.loads(base64.urlsafe_b64decode(part + "=="), object_pairs_hook=once)
    except (ValueError, RecursionError):
        raise NoToken(f"The {name} is not JSON once decoded: this is no JWT, or not a whole one.") from None
    if not isinstance(found, dict):
        raise NoToken(f"The {name} is not a JSON object, so this is no JWT.")
    return found


def show(taken: Taken) -> None:
    utf8 = console.out.encoding.lower().replace("-", "") == "utf8"
    table = Table(box=box.SIMPLE if utf8 else box.ASCII, pad_edge=False)
    for heading, limits in (("    part", {"no_wrap": True}), ("value", {"ratio": 1}), ("what it says", {"ratio": 1})):
        table.add_column(heading, overflow="fold", **limits)
    for words, values in ((HEADER_WORDS, taken.header), (WORDS, taken.claims)):
        for name, value in values.items():
            says = words.get(name, UNKNOWN)
            if name in MOMENTS and words is WORDS:
                says = f"{says}: {moment(value)}"
            table.add_row(Text(f"    {shown(name)}"), Text(shown(value)), says)
        if words is HEADER_WORDS:
            table.add_section()
    console.title("What it says (nothing here is verified yet)")
    console.out.print(table)
    for name in taken.twice:
        console.note(f"{shown(name)} stands in it more than once; the last one counts here. RFC 7519 §4")


def shown(value: object) -> str:
    """A value as it can be printed: nothing in it moves the cursor, and no token is in it."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = without_tokens("".join(c if c.isprintable() else ascii(c)[1:-1] for c in text))
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}… ({len(text)} characters)"


def show_verdicts(verdicts: list[lens_rules.Verdict], door: lens_door.Door) -> None:
    colours = {lens_rules.OK: "green", lens_rules.REFUSED: "bold red", lens_rules.CANNOT_TELL: "yellow"}
    console.title(f"What step 05 says of it, at {door.resource}, for {door.issuer}")
    for row in (door.found, *door.odd):
        console.line((row, "dim"))
    for verdict in verdicts:
        section = f". {verdict.section}" if verdict.section else ""
        console.line(
            (f"{verdict.state:<13}", colours[verdict.state]),
            f"{verdict.rule:<22}",
            shown(verdict.why),
            (section, "dim"),
        )
    refused = [verdict.rule for verdict in verdicts if verdict.state == lens_rules.REFUSED]
    unknown = [verdict.rule for verdict in verdicts if verdict.state == lens_rules.CANNOT_TELL]
    if refused:
        console.line((f"\n    Refused by the rule {refused[0]}.", "bold red"), indent="")
    elif unknown:
        console.line(("\n    No rule refuses it, as far as can be told here.", "bold yellow"), indent="")
    else:
        console.line(("\n    No rule refuses it.", "bold green"), indent="")
