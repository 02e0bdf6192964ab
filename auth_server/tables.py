"""The tables, and what every flow asks of them. Times are seconds since 1970.

Whatever opens a door is stored as its SHA-256 alone. Statements are built once: to build one takes longer than SQLite
takes to answer it.
"""

from sqlalchemy import JSON, Boolean, Column, Float, ForeignKey, Index, LargeBinary, MetaData, String, Table, Text
from sqlalchemy.sql import bindparam, delete, insert, select, update

metadata = MetaData()


def table(name: str, *columns: Column | Index) -> Table:
    return Table(name, metadata, *columns, sqlite_with_rowid=False)  # a row in one place, not in two: fewer pages


clients = table(
    "clients",
    Column("client_id", String(64), primary_key=True),
    Column("registered", Text, nullable=False),  # JSON: RFC 7591 §2, as the client was told; without its secret
    Column("secret_hash", LargeBinary(32)),
    Column("kind", String(16), nullable=False),  # dynamic, or operator
    Column("created_at", Float, nullable=False),
    Column("keep_until", Float, index=True),  # a dynamic client that nobody uses is forgotten then
    Column("not_before", Float),  # what it was given for itself before that is good no longer
)

asks = table(  # authorization requests that no person has answered yet
    "asks",
    Column("ask_hash", LargeBinary(32), primary_key=True),
    Column("asked", Text, nullable=False),  # JSON: the parameters of OAuth 2.1 §4.1.1
    Column("browser_hash", LargeBinary(32), nullable=False),  # of the cookie that this browser was given
    Column("expires_at", Float, nullable=False),
)

grants = table(  # what a person allowed; whatever came of it refers to it, and ends with it
    "grants",
    Column("grant_id", String(32), primary_key=True),
    Column("client_id", String(2000), nullable=False),  # a client metadata document has a URL for its name
    Column("subject", String(200), nullable=False),
    Column("resource", String(2000), nullable=False),
    Column("scope", Text, nullable=False),
    Column("auth_time", Float, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),  # nothing that came of it is good any longer
    Column("revoked_at", Float),
    Column("offline", Boolean, nullable=False),  # whether refresh tokens may come of it
    Index("grants_subject", "subject", "client_id"),
)

held = table(  # codes and refresh tokens: whatever a client holds, and may show once
    "held",
    Column("hash", LargeBinary(32), primary_key=True),
    Column("kind", String(16), nullable=False),  # code, or refresh_token
    Column("grant_id", ForeignKey("grants.grant_id", ondelete="CASCADE"), nullable=False, index=True),
    Column("expires_at", Float, nullable=False),
    Column("used_at", Float),
    Column("redirect_uri", Text),  # these two of a code alone
    Column("code_challenge", String(43)),
)

seen = table(  # what is good once (assertions, RFC 7523 §3), or no more (access tokens that ended before their time)
    "seen",
    Column("hash", LargeBinary(32), primary_key=True),
    Column("expires_at", Float, nullable=False),
)

people = table(
    "people",
    Column("username", String(200), primary_key=True),
    Column("password_hash", Text, nullable=False),  # argon2id, with its parameters
    Column("created_at", Float, nullable=False),
)

sessions = table(
    "sessions",
    Column("session_hash", LargeBinary(32), primary_key=True),
    Column("username", ForeignKey("people.username", ondelete="CASCADE"), nullable=False, index=True),
    Column("auth_time", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
)

consents = table(  # remembered, so that the same question is not asked twice
    "consents",
    Column("username", ForeignKey("people.username", ondelete="CASCADE"), primary_key=True),
    Column("client_id", String(2000), primary_key=True),
    Column("resource", String(2000), primary_key=True),
    Column("scope", Text, nullable=False),
    Column("given_at", Float, nullable=False),
)

resources = table(
    "resources",
    Column("resource", String(2000), primary_key=True),
    Column("name", Text, nullable=False),
    Column("scopes", JSON, nullable=False),  # each with the sentence that the consent page says
    Column("introspection_id", String(64), unique=True),
    Column("secret_hash", LargeBinary(32)),
    Column("created_at", Float, nullable=False),
)

EXPIRING = (asks, held, seen, sessions, grants)  # children before parents

# ── statements ────────────────────────────────────────────────────────────────────────────────────

INTO = {table: insert(table) for table in metadata.sorted_tables}

CLIENTS = select(clients.c["client_id", "registered", "secret_hash", "kind", "keep_until", "not_before"])
CLIENT = CLIENTS.where(clients.c.client_id == bindparam("id"))
KEEP_CLIENT = (
    update(clients)
    .where(clients.c.client_id == bindparam("id"), clients.c.keep_until < bindparam("until"))
    .values(keep_until=bindparam("until"))
)

ASK = select(asks.c["asked", "browser_hash", "expires_at"]).where(asks.c.ask_hash == bindparam("hash"))
DROP_ASK = delete(asks).where(asks.c.ask_hash == bindparam("hash"))

LOCK = select(people.c.username).where(people.c.username == bindparam("who")).with_for_update()  # SQLite has but one
CONSENT = select(consents.c.scope).where(
    consents.c.username == bindparam("who"),
    consents.c.client_id == bindparam("client"),
    consents.c.resource == bindparam("where"),
)

GRANT = select(grants).where(grants.c.grant_id == bindparam("id"))
HELD = select(held.c["hash", "expires_at", "used_at", "redirect_uri", "code_challenge"], *grants.c)
HELD = HELD.select_from(held.join(grants)).where(held.c.hash == bindparam("hash"), held.c.kind == bindparam("kind"))
FIRST_USE = (  # one statement, so that of two at once only one is the first
    update(held).where(held.c.hash == bindparam("of"), held.c.used_at.is_(None)).values(used_at=bindparam("now"))
)
LIVES_ON = (
    update(grants)
    .where(grants.c.grant_id == bindparam("id"), grants.c.expires_at < bindparam("until"))
    .values(expires_at=bindparam("until"))
)
SEEN = select(seen.c.hash).where(seen.c.hash == bindparam("hash"))

SESSION = select(sessions.c["username", "auth_time", "expires_at"])
SESSION = SESSION.where(sessions.c.session_hash == bindparam("hash"), sessions.c.expires_at > bindparam("now"))

EVERY_FLOW = (  # SQLite is asked these without a middleman: see `database.Direct`
    *(INTO[table] for table in (clients, asks, grants, held, sessions)),
    *(CLIENT, KEEP_CLIENT, ASK, DROP_ASK, LOCK, CONSENT, HELD, FIRST_USE, LIVES_ON, SESSION),
)
