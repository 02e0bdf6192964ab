"""The keys that tokens are signed with: RS256 and ES256 side by side, each followed by the next one without a gap.

A key is one file, `KID.ALGORITHM.SECONDS.pem`: it signs from that time on, in seconds since 1970, until the next key of
its algorithm does. It is published before that, and after it until the last of its tokens has expired. So whoever
reads the folder knows everything, and two processes that read it agree.
"""

from __future__ import annotations  # `Keys.list` would be taken for the type

import contextlib
import logging
import os
import re
import secrets
import stat
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from shared.stop import Stop

from .context import OAuthError
from .directory import moment
from .settings import ALGORITHMS, Settings

NAME = re.compile(rf"([0-9a-f]{{16}})\.({'|'.join(ALGORITHMS)})\.([0-9]{{1,11}})\.pem")
LOOK_EVERY = 1.0  # seconds; another process may have added or retired a key
CLOCKS_DIFFER = 60  # seconds that a token is believed after its end by those whose clock is slow
AS_PEM = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()


@dataclass(frozen=True)
class SigningKey:
    """`signs_from`: in seconds since 1970."""

    kid: str
    algorithm: str
    signs_from: int
    private: PrivateKeyTypes

    @property
    def file_name(self) -> str:
        return f"{self.kid}.{self.algorithm}.{self.signs_from}.pem"

    @cached_property
    def public(self) -> Any:
        return self.private.public_key()

    @cached_property
    def jwk(self) -> dict[str, str]:
        return jwk_of(self.public, self.kid)


def jwk_of(public: object, kid: str) -> dict[str, str]:
    """A public key, of ours or of a client: RFC 7517 §4. Raises `ValueError` if it is for neither RS256 nor ES256."""
    if isinstance(public, rsa.RSAPublicKey):
        algorithm, found = "RS256", RSAAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1):
        algorithm, found = "ES256", ECAlgorithm.to_jwk(public, as_dict=True)
    else:
        raise ValueError("neither for RS256 nor for ES256")
    found.pop("key_ops", None)
    return found | {"use": "sig", "alg": algorithm, "kid": kid}


class Keys:
    """The keys in one folder, which only its owner can read. Makes one of each algorithm where there is none.

    Raises `Stop` if others can read them, or if one cannot be read at all.
    """

    def __init__(self, folder: Path, settings: Settings):
        self.folder, self.settings = folder, settings
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        check_private(folder)
        self.keys: list[SigningKey] = []  # in the order in which they sign
        self.read()
        for algorithm in ALGORITHMS:
            if not self.of(algorithm):
                self.add(algorithm)

    def current(self, algorithm: str = "") -> SigningKey:
        """The key that signs now. Raises `OAuthError` (503) if somebody has taken them all away."""
        self.look()
        found = self.of(algorithm or self.settings.signing_algorithm)
        if not found:
            raise OAuthError("temporarily_unavailable", "There is no key to sign with.", 503)
        return next((key for key in reversed(found) if key.signs_from <= time.time()), found[0])

    def sign(self, claims: dict[str, Any], header: dict[str, Any]) -> str:
        """A JWS in its compact form. The header gets `alg` and `kid`."""
        key = self.current()
        return jwt.encode(claims, key.private, key.algorithm, {**header, "kid": key.kid})

    def public(self, kid: str) -> SigningKey | None:
        """The key of this name, if it is published."""
        return next((key for key in self.published() if key.kid == kid), None)

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """RFC 7517 §5: whatever a token that we made can be checked with, now or soon. What signs comes first."""
        first = self.current().kid
        return {"keys": [key.jwk for key in sorted(self.published(), key=lambda key: key.kid != first)]}

    def published(self) -> list[SigningKey]:
        self.look()
        now = time.time()
        return [key for key in self.keys if self.published_until(key) > now]

    def published_until(self, key: SigningKey) -> float:
        """Seconds since 1970; infinity for a key that no other follows."""
        of = self.of(key.algorithm)
        later = of[of.index(key) + 1 :]
        return later[0].signs_from + self.settings.token_lifetime + CLOCKS_DIFFER if later else float("inf")

    def list(self) -> list[dict[str, str]]:
        """kid, algorithm, state (next, signs, old), signs_from and published_until (empty: no end yet)."""
        found = []
        for key in self.published():
            state = "next" if key.signs_from > time.time() else "old"
            state = "signs" if key == self.current(key.algorithm) else state
            about = {"kid": key.kid, "algorithm": key.algorithm, "state": state, "signs_from": moment(key.signs_from)}
            until = self.published_until(key)
            found.append(about | {"published_until": "" if until == float("inf") else moment(until)})
        return found

    def rotate(self, algorithm: str = "") -> list[str]:
        """A successor for each key, or for one: published at once, signing after `key_overlap`. Their `kid`s."""
        overlap = self.settings.key_overlap
        return [self.add(name, overlap).kid for name in ALGORITHMS if algorithm in ("", name)]

    def retire(self, kid: str) -> None:
        """Nothing that this key has signed is good any longer, from now on. Raises `Stop` if there is no such key.

        If it was the one that signs, the next one does from now on.
        """
        key = self.public(kid)
        if key is None:
            raise Stop(f"There is no key {kid!r} here. `keys list` shows those that there are.")
        others = [other for other in self.published() if other.algorithm == key.algorithm and other != key]
        if not others:
            self.add(key.algorithm)
        elif others[0].signs_from > time.time():
            sooner = replace(others[0], signs_from=int(time.time()))
            os.replace(self.folder / others[0].file_name, self.folder / sooner.file_name)
        self.delete(key)
        self.read()

    def purge(self) -> None:
        """Delete what is published no longer."""
        for key in set(self.keys) - set(self.published()):
            self.delete(key)

    def delete(self, key: SigningKey) -> None:
        (self.folder / key.file_name).unlink(missing_ok=True)
        self.keys = [other for other in self.keys if other != key]

    def of(self, algorithm: str) -> list[SigningKey]:
        return [key for key in self.keys if key.algorithm == algorithm]

    def look(self) -> None:
        """At the folder, if we have not just done so. What cannot be used is said, and left out."""
        if not 0 <= time.monotonic() - self.looked_at < LOOK_EVERY:
            try:
                self.read()
            except (Stop, OSError) as problem:
                logging.getLogger("auth_server").warning("keys: %s", problem)

    def read(self) -> None:
        """Raises `Stop` if a file cannot be used, after all others: what was retired is gone in any case."""
        self.looked_at = time.monotonic()
        known, found, problems = {key.file_name: key for key in self.keys}, [], []
        for name in filter(NAME.fullmatch, os.listdir(self.folder)):
            try:
                found.append(known.get(name) or load(self.folder / name))
            except Stop as problem:
                problems.append(str(problem))
        self.keys = sorted(filter(None, found), key=lambda key: (key.signs_from, key.kid))
        if problems:
            raise Stop("\n".join(problems))

    def add(self, algorithm: str, wait: int = 0) -> SigningKey:
        """A new one, which signs in so many seconds."""
        is_rsa = algorithm == "RS256"
        made = rsa.generate_private_key(65537, 2048) if is_rsa else ec.generate_private_key(ec.SECP256R1())
        key = SigningKey(secrets.token_hex(8), algorithm, int(time.time()) + wait, made)
        unfinished = self.folder / f".{key.kid}"
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(made.private_bytes(*AS_PEM))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(AttributeError, PermissionError):  # Windows has no chown, and only root may
            os.chown(unfinished, self.folder.stat().st_uid, self.folder.stat().st_gid)  # the server must read it
        os.replace(unfinished, self.folder / key.file_name)
        self.keys.append(key)
        self.read()
        return key


def load(path: Path) -> SigningKey | None:
    """None if it has just been deleted."""
    kid, algorithm, signs_from = NAME.fullmatch(path.name).groups()
    try:
        check_private(path)
        # our own key, in our own folder: to prove its primes once more takes longer than all else at the start
        private = serialization.load_pem_private_key(path.read_bytes(), None, unsafe_skip_rsa_key_validation=True)
        key = SigningKey(kid, algorithm, int(signs_from), private)
        if key.jwk["alg"] == algorithm:
            return key
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError):
        pass
    raise Stop(f"The key {path} cannot be used. Restore it, or delete it: a new one is made at the next start.")


def check_private(path: Path) -> None:
    """Windows keeps other users out of a profile by itself; its mode bits say nothing about that."""
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        mode = "700" if path.is_dir() else "600"
        raise Stop(f"Others on this computer can get at {path}, where our keys are: chmod {mode} '{path}'.")
