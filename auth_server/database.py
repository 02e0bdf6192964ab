"""The connection to the database: how SQLite is set up, who waits for an answer, and which questions take a short cut.

SQLite is asked in the event loop: it answers in microseconds. What every flow asks is put into SQL once, and then takes
a tenth of the time; all else goes over the same connection through SQLAlchemy. Any other database is asked in a thread.
"""

import asyncio
import contextlib
import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

import anyio.to_thread
from sqlalchemy import Connection, Engine, Executable, create_engine, event, inspect, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.schema import CreateColumn

from . import tables

P, T = ParamSpec("P"), TypeVar("T")
BUSY = 5  # seconds to wait while another process writes
AGAIN = 0.02  # seconds until the event loop tries once more


def sha256(secret: str) -> bytes:
    """What is stored of a secret with 128 random bits or more. Nobody can guess it, so it takes no salt."""
    return hashlib.sha256(secret.encode()).digest()


class Database:
    """`url` is SQLAlchemy's, like `sqlite:///data/auth_server.db`. Creates what it needs.

    `with transaction() as db` is all or nothing; when the block has ended, it survives a crash of this process.
    `with look() as db` is for reading, and waits for nobody who writes.
    """

    def __init__(self, url: str):
        self.is_sqlite = make_url(url).get_backend_name() == "sqlite"
        self.engine = create_engine(url, pool_pre_ping=not self.is_sqlite)
        if self.is_sqlite:
            make_private(make_url(url).database)
            event.listen(self.engine, "connect", prepare)
        with self.engine.begin() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")  # another process may begin on the same empty folder
            tables.metadata.create_all(connection)
            add_new_columns(connection)
        self.transaction, self.look = self.engine.begin, self.engine.connect
        if self.is_sqlite:
            self.direct = Direct(self.engine)
            self.transaction, self.look = self.direct.transaction, self.direct.alone

    def first(self, statement: Executable, **given: Any) -> tuple | None:
        """The row that it finds, if any."""
        with self.look() as db:
            return db.execute(statement, given).first()

    def change(self, statement: Executable, **given: Any) -> int:
        """A transaction of one statement; how many rows it changed."""
        with self.transaction() as db:
            return db.execute(statement, given).rowcount

    async def ask(self, method: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """Call something that asks the database, without holding up the event loop."""
        if not self.is_sqlite:
            return await anyio.to_thread.run_sync(lambda: method(*given, **named))
        self.direct.wait_for_nobody()
        until = time.monotonic() + BUSY
        while True:
            try:
                return method(*given, **named)
            except OperationalError as problem:
                if not is_busy(problem) or time.monotonic() > until:
                    raise
            await asyncio.sleep(AGAIN)  # nothing has happened yet, and all others are served meanwhile

    def close(self) -> None:
        if self.is_sqlite:
            self.direct.connection.close()
        self.engine.dispose()


def is_busy(problem: OperationalError) -> bool:
    """Whether another process writes just now."""
    return getattr(problem.orig, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def add_new_columns(connection: Connection) -> None:
    """A database of an earlier version lacks some. All that came later can be empty."""
    found = inspect(connection)
    for table in tables.metadata.sorted_tables:
        known = {column["name"] for column in found.get_columns(table.name)}
        for column in table.columns:
            if column.name not in known:
                about = CreateColumn(column).compile(dialect=connection.dialect)
                connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {about}")


def make_private(path: str | None) -> None:
    """The file exists before SQLite opens it, so that from its first byte on only its owner can read it."""
    if path and path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def prepare(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself: `Direct.transaction` does
    for pragma in (f"busy_timeout = {BUSY * 1000}", "journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


class Answer(NamedTuple):
    """What a statement gave, with SQLAlchemy's names as far as we use them."""

    rows: list[tuple]
    rowcount: int

    def first(self) -> tuple | None:
        return self.rows[0] if self.rows else None


class Direct:
    """The one connection to SQLite, kept open. Whoever uses it has it alone."""

    def __init__(self, engine: Engine):
        self.connection = engine.connect()
        self.driver: sqlite3.Connection = self.connection.connection.driver_connection
        self.prepared: dict[int, tuple[str, list[str]]] = {}  # by the statement's id: its SQL, and the names in order
        for one in tables.EVERY_FLOW:
            columns = list(one.table.columns.keys()) if one.is_insert else None
            compiled = one.compile(dialect=engine.dialect, column_keys=columns)
            self.prepared[id(one)] = str(compiled), compiled.positiontup
        self.lock = threading.Lock()
        self.waits = True

    def wait_for_nobody(self) -> None:
        """From now on, whoever finds the database busy is told so at once: they wait without us."""
        if self.waits:
            with self.lock:
                self.driver.execute("PRAGMA busy_timeout = 0")
            self.waits = False

    def execute(self, statement: Executable, given: dict[str, Any] | None = None) -> Any:
        """What is prepared goes in and out as SQLite has it: text, numbers and bytes."""
        if id(statement) not in self.prepared:
            return self.connection.execute(statement, given)
        sql, names = self.prepared[id(statement)]
        cursor = self.driver.execute(sql, [given.get(name) for name in names])
        return Answer(cursor.fetchall(), cursor.rowcount)

    @contextlib.contextmanager
    def alone(self) -> Iterator["Direct"]:
        """What SQLite itself complains of is said in SQLAlchemy's words."""
        with self.lock:
            try:
                yield self
            except sqlite3.Error as error:
                raise OperationalError(None, None, error) from None
            finally:
                if self.connection.in_transaction():
                    self.connection.rollback()  # in SQLAlchemy's eyes there was one

    @contextlib.contextmanager
    def transaction(self) -> Iterator["Direct"]:
        """Begun at once: whoever reads first and writes later could find that somebody else has written in between."""
        with self.alone(), self.driver:  # which commits, or rolls back
            self.driver.execute("BEGIN IMMEDIATE")
            yield self
