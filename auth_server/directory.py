"""People, their sessions, what they allowed, and the resources that tokens are made for: what an operator puts in."""

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select, update

from .database import Database, sha256
from .tables import INTO, SESSION, consents, grants, people, resources, sessions


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
RESOURCES = select(resources.c[*Resource.__dataclass_fields__]).order_by(resources.c.created_at)


def moment(since: float) -> str:
    """As RFC 3339 has it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since))


class Directory:
    """Every method is one transaction. Session ids come in clear and are stored as hashes."""

    def __init__(self, database: Database):
        self.database, self.ask = database, database.ask
        self.known: dict[str, Resource] = {}
        self.look_again_at = 0.0

    def put_person(self, username: str, password_hash: str, now: float) -> bool:
        """Add somebody, or give them another password; then nobody stays signed in. Whether they are new."""
        with self.database.transaction() as db:
            db.execute(delete(sessions).where(sessions.c.username == username))
            changed = update(people).where(people.c.username == username).values(password_hash=password_hash)
            if db.execute(changed).rowcount:
                return False
            db.execute(INTO[people], {"username": username, "password_hash": password_hash, "created_at": now})
        return True

    def password_hash(self, username: str) -> str | None:
        row = self.database.first(select(people.c.password_hash).where(people.c.username == username))
        return row[0] if row else None

    def everybody(self) -> list[tuple[str, float]]:
        """Names, and since when we know them."""
        with self.database.look() as db:
            return [tuple(row) for row in db.execute(select(people.c["username", "created_at"]).order_by("username"))]

    def add_session(self, session_id: str, session: Session) -> None:
        self.database.change(INTO[sessions], session_hash=sha256(session_id), **vars(session))

    def session(self, session_id: str, now: float) -> Session | None:
        row = self.database.first(SESSION, hash=sha256(session_id), now=now)
        return Session(*row) if row else None

    def drop_session(self, session_id: str) -> None:
        self.database.change(delete(sessions).where(sessions.c.session_hash == sha256(session_id)))

    def allowed_by(self, username: str, now: float) -> list[dict[str, Any]]:
        """client_id, resource, scope, given_at of what is remembered, and of what still works; the newest first."""
        remembered = select(consents.c["client_id", "resource", "scope", "given_at"]).where(
            consents.c.username == username
        )
        works = select(grants.c["client_id", "resource", "scope"], grants.c.auth_time.label("given_at")).where(
            grants.c.subject == username, grants.c.revoked_at.is_(None), grants.c.expires_at > now
        )
        found: dict[tuple[str, str], dict[str, Any]] = {}
        with self.database.look() as db:
            rows = [row._asdict() for statement in (remembered, works) for row in db.execute(statement)]
        for row in rows:
            one = found.setdefault((row["client_id"], row["resource"]), row)
            one["scope"] = " ".join(dict.fromkeys([*one["scope"].split(), *row["scope"].split()]))
            one["given_at"] = min(one["given_at"], row["given_at"])
        return sorted(found.values(), key=lambda about: -about["given_at"])

    def put_resource(self, resource: Resource, now: float) -> None:
        """Add it, or put it in the place of what we knew of it."""
        self.look_again_at = 0.0
        with self.database.transaction() as db:
            db.execute(delete(resources).where(resources.c.resource == resource.resource))
            db.execute(INTO[resources], vars(resource) | {"created_at": now})

    def resources(self) -> dict[str, Resource]:
        """By identifier, in the order in which they came. What another process has changed is seen a second later."""
        now = time.monotonic()
        if now >= self.look_again_at:
            with self.database.look() as db:
                self.known = {row.resource: Resource(*row) for row in db.execute(RESOURCES)}
            self.look_again_at = now + LOOK_EVERY
        return self.known
