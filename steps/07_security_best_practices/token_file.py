"""Step 07 · what a patient attacker tries next, and why it does not work.

Where the client keeps what it was given: a file that nobody else on this computer can read, by who gave it.
"""

import json
import os
from pathlib import Path

from shared.console import note

# ── what we remember ──────────────────────────────────────────────────────────

TOKEN_FILE = Path("out") / "tokens.json"

# ── requests ──────────────────────────────────────────────────────────────────


def everything() -> dict:
    try:
        found = json.loads(TOKEN_FILE.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def kept(issuer: str) -> tuple[dict, dict]:
    """Who we are to this server, and its tokens: what the last run left, if it could not say goodbye."""
    found = everything().get(issuer)
    client, tokens = (found.get("client"), found.get("tokens")) if isinstance(found, dict) else (None, None)
    whole = isinstance(client, dict) and "client_id" in client and isinstance(tokens, dict)
    return (client, tokens) if whole else ({}, {})


def keep(issuer: str, client: dict, tokens: dict) -> None:
    write(everything() | {issuer: {"client": client, "tokens": tokens}})
    rights = f", with the rights {TOKEN_FILE.stat().st_mode & 0o777:o}" if os.name == "posix" else ""
    note(f"The tokens are kept in {TOKEN_FILE.as_posix()}{rights}: for its owner alone.")


def forget(issuer: str) -> None:
    write({other: found for other, found in everything().items() if other != issuer})
    note(f"{TOKEN_FILE.as_posix()} has forgotten them.")


def write(found: dict) -> None:
    """Beside it first: a file that is written again keeps the rights it had, and one half written is lost."""
    beside = TOKEN_FILE.with_suffix(f".{os.getpid()}")
    beside.parent.mkdir(exist_ok=True)
    beside.unlink(missing_ok=True)
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(found, file)
    os.replace(beside, TOKEN_FILE)
