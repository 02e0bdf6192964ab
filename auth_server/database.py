"""The connection to the database: how SQLite is set up, and who waits for an answer.

SQLite is asked in the event loop: it answers in microseconds. Any other database is asked in a thread.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

import anyio.to_thread
from sqlalchemy import Connection, create_engine, event, make_url
from sqlalchemy.pool import ConnectionPoolEntry

from . import tables
from .direct import Direct

P, T = ParamSpec("P"), TypeVar("T")
BUSY = 5  # seconds to wait while another process writes


def sha256(secret: str) -> bytes:
    """What is stored of a secret with 128 random bits or more. Nobody can guess it, so it takes no salt."""
    return hashlib.sha256(secret.encode()).digest()


class Database:
    """`url` is SQLAlchemy's, like `sqlite:///data/auth_server.db`. Creates what it needs."""

    def __init__(self, url: str):
        self.is_sqlite = make_url(url).get_backend_name() == "sqlite"
        if self.is_sqlite:
            make_private(make_url(url).database)
        self.engine = create_engine(url, pool_pre_ping=not self.is_sqlite)
        if self.is_sqlite:
            event.listen(self.engine, "connect", prepare)
        with self.engine.begin() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")  # another process may begin on the same empty folder
            tables.metadata.create_all(connection)
        self.direct = Direct(self.engine) if self.is_sqlite else None

    @contextlib.contextmanager
    def transaction(self) -> Iterator["Connection | Direct"]:
        """All or nothing; when the block has ended, it survives a crash of this process."""
        with self.direct.transaction() if self.direct else self.engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def look(self) -> Iterator["Connection | Direct"]:
        """To read one thing: it waits for nobody who writes."""
        with self.direct.alone() if self.direct else self.engine.connect() as connection:
            yield connection

    async def ask(self, method: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """Call something that uses `transaction` or `look`, without holding up the event loop."""
        if self.is_sqlite:
            return method(*given, **named)
        return await anyio.to_thread.run_sync(lambda: method(*given, **named))

    def close(self) -> None:
        if self.direct:
            self.direct.connection.close()
        self.engine.dispose()


def make_private(path: str | None) -> None:
    """The file exists before SQLite opens it, so that from its first byte on only its owner can read it."""
    if path and path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def prepare(connection: object, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself: `Direct.transaction` does
    connection.execute(f"PRAGMA busy_timeout = {BUSY * 1000}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
