"""People, their sessions, what they allowed, and the resources that tokens are made for: what an operator puts in."""

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select, update

from .database import Database, sha256
from .statements import INTO, SESSION
from .tables import consents, grants, people, resources, sessions


@dataclass(frozen=True)
class Session:
    """Somebody who has signed in. Times in seconds since 1970."""

    username: str
    auth_time: float
    expires_at: float


@dataclass(frozen=True)
class Resource:
    """A server that we make tokens for (RFC 8707). `scopes`: each with the sentence that the consent page says.

    `introspection_id` and the hash of its secret are what it shows when it asks about a token (RFC 7662 §2.1).
    """

    resource: str
    name: str
    scopes: dict[str, str]
    introspection_id: str | None = None
    secret_hash: bytes | None = None


LOOK_EVERY = 1.0  # seconds
ALLOWED = ("client_id", "resource", "scope", "given_at")
RESOURCES = select(resources.c[*Resource.__dataclass_fields__]).order_by(resources.c.created_at)


def moment(since: float) -> str:
    """As RFC 3339 has it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since))


class Directory:
    """Every method is one transaction. Session ids come in clear and are stored as hashes."""

    known: dict[str, Resource] | None = None
    looked_at = 0.0

    def __init__(self, database: Database):
        self.ask, self.transaction, self.look = database.ask, database.transaction, database.look

    def put_person(self, username: str, password_hash: str, now: float) -> bool:
        """Add somebody, or give them another password; then nobody stays signed in. Whether they are new."""
        with self.transaction() as db:
            db.execute(delete(sessions).where(sessions.c.username == username))
            changed = update(people).where(people.c.username == username).values(password_hash=password_hash)
            if db.execute(changed).rowcount:
                return False
            db.execute(INTO[people], {"username": username, "password_hash": password_hash, "created_at": now})
        return True

    def password_hash(self, username: str) -> str | None:
        with self.look() as db:
            return db.execute(select(people.c.password_hash).where(people.c.username == username)).scalar()

    def everybody(self) -> list[tuple[str, float]]:
        """Names, and since when we know them."""
        with self.look() as db:
            return [tuple(row) for row in db.execute(select(people.c["username", "created_at"]).order_by("username"))]

    def add_session(self, session_id: str, session: Session) -> None:
        with self.transaction() as db:
            db.execute(INTO[sessions], vars(session) | {"session_hash": sha256(session_id)})

    def session(self, session_id: str, now: float) -> Session | None:
        with self.look() as db:
            row = db.execute(SESSION, {"hash": sha256(session_id), "now": now}).first()
        return Session(*row) if row else None

    def drop_session(self, session_id: str) -> None:
        with self.transaction() as db:
            db.execute(delete(sessions).where(sessions.c.session_hash == sha256(session_id)))

    def allowed_by(self, username: str, now: float) -> list[dict[str, Any]]:
        """client_id, resource, scope, given_at of what is remembered, and of what still works; the newest first."""
        remembered = select(consents.c[ALLOWED]).where(consents.c.username == username)
        works = select(grants.c["client_id", "resource", "scope", "auth_time"]).where(
            grants.c.subject == username, grants.c.revoked_at.is_(None), grants.c.expires_at > now
        )
        found: dict[tuple[str, str], dict[str, Any]] = {}
        with self.look() as db:
            rows = [*db.execute(remembered), *db.execute(works)]
        for row in rows:
            before = found.setdefault(tuple(row[:2]), dict(zip(ALLOWED, row, strict=True)))
            before["scope"] = " ".join(dict.fromkeys([*before["scope"].split(), *row[2].split()]))
            before["given_at"] = min(before["given_at"], row[3])
        return sorted(found.values(), key=lambda about: -about["given_at"])

    def put_resource(self, resource: Resource, now: float) -> None:
        """Add it, or put it in the place of what we knew of it."""
        self.known = None
        with self.transaction() as db:
            db.execute(delete(resources).where(resources.c.resource == resource.resource))
            db.execute(INTO[resources], vars(resource) | {"created_at": now})

    def resources(self) -> dict[str, Resource]:
        """By identifier, in the order in which they came. What another process has changed is seen a second later."""
        now = time.monotonic()
        if self.known is None or not 0 <= now - self.looked_at < LOOK_EVERY:
            with self.look() as db:
                self.known = {row.resource: Resource(*row) for row in db.execute(RESOURCES)}
            self.looked_at = now
        return self.known
