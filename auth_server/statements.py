"""The statements that every flow takes, built once: to build one takes longer than SQLite takes to answer it."""

from sqlalchemy import bindparam, delete, insert, select, update

from .tables import asks, clients, consents, grants, held, metadata, seen, sessions

INTO = {table: insert(table) for table in metadata.sorted_tables}

CLIENTS = select(clients.c["client_id", "registered", "secret_hash", "kind", "keep_until"])
CLIENT = CLIENTS.where(clients.c.client_id == bindparam("id"))

ASK = select(asks.c["asked", "browser_hash", "expires_at"]).where(asks.c.ask_hash == bindparam("hash"))
DROP_ASK = delete(asks).where(asks.c.ask_hash == bindparam("hash"))

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

EVERY_FLOW = (  # SQLite is asked these without a middleman: see `direct`
    *(INTO[table] for table in (clients, asks, grants, held, sessions)),
    CLIENT,
    ASK,
    DROP_ASK,
    CONSENT,
    HELD,
    FIRST_USE,
    LIVES_ON,
    SESSION,
)
