"""Step 07 · what a patient attacker tries next, and why it does not work.

Where the client keeps its tokens: a file that nobody else on this computer can read, sorted by who made them.
"""

import json
import os
from pathlib import Path

from shared.console import note

# ── what we remember ──────────────────────────────────────────────────────────

TOKEN_FILE = Path("out") / "tokens.json"

# ── requests ──────────────────────────────────────────────────────────────────


def keep(issuer: str, tokens: dict) -> None:
    TOKEN_FILE.parent.mkdir(exist_ok=True)
    TOKEN_FILE.unlink(missing_ok=True)  # a file that is written again would keep the rights it had
    handle = os.open(TOKEN_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(handle, "w", encoding="utf-8") as file:
        json.dump({issuer: tokens}, file)
    rights = oct(TOKEN_FILE.stat().st_mode & 0o777).removeprefix("0o")
    note(f"The tokens are kept in {TOKEN_FILE.as_posix()}, with the rights {rights}: for its owner alone.")


def forget() -> None:
    TOKEN_FILE.unlink(missing_ok=True)
    note(f"{TOKEN_FILE.as_posix()} is gone.")


def kept(issuer: str) -> dict:
    """What the last run has left, if it could not say goodbye."""
    try:
        return json.loads(TOKEN_FILE.read_text(encoding="utf-8")).get(issuer, {})
    except (OSError, ValueError):
        return {}
