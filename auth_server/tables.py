"""The tables. Times are seconds since 1970; whatever opens a door is stored as its SHA-256 alone."""

from sqlalchemy import JSON, Boolean, Column, Float, ForeignKey, Index, LargeBinary, MetaData, String, Table, Text

metadata = MetaData()

clients = Table(
    "clients",
    metadata,
    Column("client_id", String(64), primary_key=True),
    Column("registered", JSON, nullable=False),  # RFC 7591 §2, as the client was told; without its secret
    Column("secret_hash", LargeBinary(32)),
    Column("kind", String(16), nullable=False),  # dynamic, or operator
    Column("created_at", Float, nullable=False),
    Column("keep_until", Float),  # a dynamic client that nobody uses is forgotten then
    Index("clients_keep_until", "keep_until"),
)

asks = Table(  # authorization requests that no person has answered yet
    "asks",
    metadata,
    Column("ask_hash", LargeBinary(32), primary_key=True),
    Column("asked", JSON, nullable=False),  # the parameters of OAuth 2.1 §4.1.1
    Column("browser_hash", LargeBinary(32), nullable=False),  # of the cookie that this browser was given
    Column("expires_at", Float, nullable=False),
    Index("asks_expires_at", "expires_at"),
)

grants = Table(  # what a person allowed; whatever came of it refers to it, and ends with it
    "grants",
    metadata,
    Column("grant_id", String(32), primary_key=True),
    Column("client_id", String(2000), nullable=False),  # a client metadata document has a URL for its name
    Column("subject", String(200), nullable=False),
    Column("resource", String(2000), nullable=False),
    Column("scope", Text, nullable=False),
    Column("auth_time", Float, nullable=False),
    Column("expires_at", Float, nullable=False),  # nothing that came of it is good any longer
    Column("revoked_at", Float),
    Column("offline", Boolean, nullable=False),  # whether refresh tokens may come of it
    Index("grants_expires_at", "expires_at"),
    Index("grants_subject", "subject", "client_id"),
)

held = Table(  # codes and refresh tokens: whatever a client holds, and may show once
    "held",
    metadata,
    Column("hash", LargeBinary(32), primary_key=True),
    Column("kind", String(16), nullable=False),  # code, or refresh_token
    Column("grant_id", ForeignKey("grants.grant_id", ondelete="CASCADE"), nullable=False, index=True),
    Column("expires_at", Float, nullable=False),
    Column("used_at", Float),
    Column("redirect_uri", Text),  # these two of a code alone
    Column("code_challenge", String(43)),
)

seen = Table(  # what is good once (assertions, RFC 7523 §3), or no more (access tokens that ended before their time)
    "seen",
    metadata,
    Column("hash", LargeBinary(32), primary_key=True),
    Column("expires_at", Float, nullable=False),
)

people = Table(
    "people",
    metadata,
    Column("username", String(200), primary_key=True),
    Column("password_hash", Text, nullable=False),  # argon2id, with its parameters
    Column("created_at", Float, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("session_hash", LargeBinary(32), primary_key=True),
    Column("username", ForeignKey("people.username", ondelete="CASCADE"), nullable=False, index=True),
    Column("auth_time", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
)

consents = Table(  # remembered, so that the same question is not asked twice
    "consents",
    metadata,
    Column("username", ForeignKey("people.username", ondelete="CASCADE"), primary_key=True),
    Column("client_id", String(2000), primary_key=True),
    Column("resource", String(2000), primary_key=True),
    Column("scope", Text, nullable=False),
    Column("given_at", Float, nullable=False),
)

resources = Table(
    "resources",
    metadata,
    Column("resource", String(2000), primary_key=True),
    Column("name", Text, nullable=False),
    Column("scopes", JSON, nullable=False),  # each with the sentence that the consent page says
    Column("introspection_id", String(64), unique=True),
    Column("secret_hash", LargeBinary(32)),
    Column("created_at", Float, nullable=False),
)

EXPIRING = (asks, held, seen, sessions, grants)  # children before parents
