"""What clients have, were asked and were given. Every method is one transaction, and says what it takes and gives."""

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, delete, select, update
from sqlalchemy.exc import IntegrityError

from . import tables
from .database import Database, sha256
from .tables import INTO, asks, clients, consents, grants, held, people, resources, seen

A_DAY = 86_400  # seconds
PARTY = {clients: "client_id", people: "subject", resources: "resource"}  # what a grant calls them
IN_CONSENTS = {"client_id": consents.c.client_id, "subject": consents.c.username, "resource": consents.c.resource}


@dataclass(frozen=True)
class Client:
    """A client as it was registered (RFC 7591 §2), or as its metadata document describes it."""

    client_id: str
    registered: dict[str, Any]
    secret_hash: bytes | None = None
    kind: str = "dynamic"  # dynamic, operator, or document
    keep_until: float | None = None  # when it is forgotten if nobody uses it; None for never
    not_before: float | None = None  # what it was given for itself before that is good no longer


@dataclass(frozen=True)
class Grant:
    """What a person allowed a client at one resource. `scope` is as on the wire: names with spaces between."""

    grant_id: str
    client_id: str
    subject: str
    resource: str
    scope: str
    auth_time: float
    expires_at: float
    revoked_at: float | None = None
    offline: bool = True  # whether refresh tokens may come of it: false if they unticked `offline_access`


@dataclass(frozen=True)
class Held:
    """A code or a refresh token that somebody showed, and the grant behind it."""

    hash: bytes
    expires_at: float
    used_at: float | None
    redirect_uri: str | None  # these two are None for a refresh token
    code_challenge: str | None
    grant: Grant


@dataclass(frozen=True)
class Ask:
    """An authorization request that waits for a person. `asked`: the parameters of OAuth 2.1 §4.1.1."""

    asked: dict[str, str]
    browser_hash: bytes
    expires_at: float


class Store:
    """All times are seconds since 1970. Codes, tokens and request ids come in clear and are stored as hashes."""

    def __init__(self, database: Database):
        self.database, self.ask = database, database.ask

    def add_client(self, client: Client, now: float, keep_until: float | None) -> None:
        row = vars(client) | {"registered": json.dumps(client.registered), "created_at": now, "keep_until": keep_until}
        self.database.change(INTO[clients], **row)

    def client(self, client_id: str) -> Client | None:
        row = self.database.first(tables.CLIENT, id=client_id)
        return client_in(row) if row else None

    def all_clients(self) -> list[tuple[Client, float]]:
        """Each with when it came."""
        with self.database.look() as db:
            rows = db.execute(tables.CLIENTS.add_columns(clients.c.created_at).order_by("created_at"))
            return [(client_in(row), row[-1]) for row in rows]

    def remove(self, what: Table, name: str, now: float) -> tuple[bool, bool]:
        """Forget a client, a person or a resource: what was allowed to, by or at it ends.

        Whether there was one; and whether anything was allowed, as a client with a document has that alone.
        """
        (key,), whose = what.primary_key, {PARTY[what]: name}
        with self.database.transaction() as db:
            ended = end(db, now, **whose) + forget_consents(db, **whose)
            return db.execute(delete(what).where(key == name)).rowcount == 1, ended > 0

    # ── authorization requests and consents ───────────────────────────────────────────────────────

    def add_ask(
        self, ask_id: str, asked: dict[str, str], browser: str, expires_at: float, keep_until: float = 0.0
    ) -> None:
        """Its client is kept at least until `keep_until`."""
        row = {"ask_hash": sha256(ask_id), "browser_hash": sha256(browser), "asked": json.dumps(asked)}
        with self.database.transaction() as db:
            db.execute(INTO[asks], row | {"expires_at": expires_at})
            db.execute(tables.KEEP_CLIENT, {"id": asked.get("client_id"), "until": keep_until})

    def find_ask(self, ask_id: str) -> Ask | None:
        row = self.database.first(tables.ASK, hash=sha256(ask_id))
        return Ask(json.loads(row[0]), *row[1:]) if row else None

    def drop_ask(self, ask_id: str) -> bool:
        """Whether it was there: of two answers to one page only the first counts."""
        return self.database.change(tables.DROP_ASK, hash=sha256(ask_id)) == 1

    def answer_ask(self, ask_id: str, grant: Grant, code: dict[str, Any], now: float, remember: bool) -> bool:
        """A person said yes: the request goes, grant and code come, the consent is remembered; all or nothing.

        `code`: code, redirect_uri, code_challenge, expires_at. False if somebody else has answered already.
        """
        row = {"hash": sha256(code["code"]), "kind": "code", "grant_id": grant.grant_id}
        row |= {name: code[name] for name in ("redirect_uri", "code_challenge", "expires_at")}
        with self.database.transaction() as db:
            if db.execute(tables.DROP_ASK, {"hash": sha256(ask_id)}).rowcount != 1:
                return False
            db.execute(INTO[grants], vars(grant))
            db.execute(INTO[held], row)
            if remember:
                remember_consent(db, grant, now)
        return True

    def consent(self, username: str, client_id: str, resource: str) -> list[str]:
        """The scopes that this person has allowed this client at this resource."""
        row = self.database.first(tables.CONSENT, who=username, client=client_id, where=resource)
        return row[0].split() if row else []

    def withdraw(self, username: str, client_id: str, resource: str, now: float) -> bool:
        """The consent is forgotten, and whatever came of it works no more. Whether there was anything."""
        whose = {"subject": username, "client_id": client_id, "resource": resource}
        with self.database.transaction() as db:
            return end(db, now, **whose) + forget_consents(db, **whose) > 0

    # ── codes and tokens ──────────────────────────────────────────────────────────────────────────

    def held(self, kind: str, secret: str) -> Held | None:
        """`kind`: code or refresh_token."""
        row = self.database.first(tables.HELD, kind=kind, hash=sha256(secret))
        return Held(*row[:5], Grant(*row[5:])) if row else None

    def use(
        self, shown: Held, now: float, successor: str = "", expires_at: float = 0.0, keep_until: float = 0.0
    ) -> bool:
        """Whether we are the first. If so, its successor, a refresh token, is there too when we return.

        Its client is kept at least until `keep_until`.
        """
        with self.database.transaction() as db:
            if db.execute(tables.FIRST_USE, {"of": shown.hash, "now": now}).rowcount != 1:
                return False
            if successor:
                row = {"hash": sha256(successor), "kind": "refresh_token", "grant_id": shown.grant.grant_id}
                db.execute(INTO[held], row | {"expires_at": expires_at})
                db.execute(tables.LIVES_ON, {"id": shown.grant.grant_id, "until": expires_at})
            if keep_until:
                db.execute(tables.KEEP_CLIENT, {"id": shown.grant.client_id, "until": keep_until})
        return True

    def grant(self, grant_id: str) -> Grant | None:
        row = self.database.first(tables.GRANT, id=grant_id)
        return Grant(*row) if row else None

    def end_grants(self, now: float, **named: str) -> int:
        """By grant_id, client_id, subject or several of them: whatever came of them works no more. How many."""
        with self.database.transaction() as db:
            return end(db, now, **named)

    def take_back(self, now: float, **named: str) -> int:
        """As `end_grants`; and what the same people allowed the same clients is asked again, but for a grant_id's."""
        with self.database.transaction() as db:
            if "grant_id" not in named:
                forget_consents(db, **named)
            if set(named) == {"client_id"}:
                db.execute(update(clients).filter_by(**named).values(not_before=now))
            return end(db, now, **named)

    def was_given(self, **named: str) -> bool:
        """Whether there is a grant, ended or not, of this grant_id, client_id or subject; or a consent."""
        found = [select(grants.c.grant_id).filter_by(**named)]
        found += [] if "grant_id" in named else [select(consents.c.given_at).where(*these_consents(named))]
        return any(map(self.database.first, found))

    def first_sight(self, kind: str, name: str, expires_at: float) -> bool:
        """Whether this was never shown, or ended, before. It has been now."""
        try:
            self.database.change(INTO[seen], hash=sha256(f"{kind}\n{name}"), expires_at=expires_at)
        except IntegrityError:
            return False
        return True

    def seen(self, kind: str, name: str) -> bool:
        return self.database.first(tables.SEEN, hash=sha256(f"{kind}\n{name}")) is not None

    def purge(self, now: float) -> int:
        """Forget what can be of no use to anybody any more; how many rows that were."""
        gone = [delete(table).where(table.c.expires_at < now) for table in tables.EXPIRING]
        gone.append(delete(clients).where(clients.c.keep_until < now))
        is_document = consents.c.client_id.like("http%://%")
        gone.append(delete(consents).where(~is_document, consents.c.client_id.not_in(select(clients.c.client_id))))
        with self.database.transaction() as db:
            return sum(db.execute(statement).rowcount for statement in gone)


def client_in(row: tuple) -> Client:
    return Client(row[0], json.loads(row[1]), *row[2:6])


def end(db: Connection, now: float, **named: str) -> int:
    """Whatever came of these grants works no more; how many there were."""
    which = [grants.c[name] == value for name, value in named.items()]
    assert which, "this would end everything"
    return db.execute(update(grants).where(grants.c.revoked_at.is_(None), *which).values(revoked_at=now)).rowcount


def remember_consent(db: Connection, grant: Grant, now: float) -> None:
    """What was allowed before stays allowed; this is added."""
    db.execute(tables.LOCK, {"who": grant.subject})  # of two at once the second waits for what the first has added
    row = db.execute(tables.CONSENT, {"who": grant.subject, "client": grant.client_id, "where": grant.resource}).first()
    before = row[0].split() if row else []
    whose = {"client_id": grant.client_id, "resource": grant.resource}
    forget_consents(db, subject=grant.subject, **whose)
    scope = " ".join(dict.fromkeys([*before, *grant.scope.split()]))
    db.execute(INTO[consents], whose | {"username": grant.subject, "scope": scope, "given_at": now})


def forget_consents(db: Connection, **named: str) -> int:
    return db.execute(delete(consents).where(*these_consents(named))).rowcount


def these_consents(named: dict[str, str]) -> list[ColumnElement[bool]]:
    """By client_id, subject, resource, or several of them."""
    assert named, "these would be all"
    return [IN_CONSENTS[name] == value for name, value in named.items()]
