"""SQLite without a middleman: what every flow asks is put into SQL once, and then takes a tenth of the time.

One connection, kept open. Statements that are not in `statements` go to the same connection through SQLAlchemy.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Engine, Executable
from sqlalchemy.exc import OperationalError

from . import statements


class Prepared:
    """One statement in SQL. `run` answers like SQLAlchemy, as far as we ask."""

    def __init__(self, statement: Executable, engine: Engine):
        columns = list(statement.table.columns.keys()) if statement.is_insert else None
        compiled = statement.compile(dialect=engine.dialect, column_keys=columns)
        self.sql, self.names = str(compiled), compiled.positiontup
        types = {name: bound.type.dialect_impl(engine.dialect) for name, bound in compiled.binds.items()}
        self.inward = {n: to for n in self.names if (to := types[n].bind_processor(engine.dialect))}
        found = statement.selected_columns if statement.is_select else []
        outward = [column.type.dialect_impl(engine.dialect).result_processor(engine.dialect, None) for column in found]
        self.outward = [(place, to) for place, to in enumerate(outward) if to]

    def run(self, connection: sqlite3.Connection, given: dict[str, Any]) -> "Answer":
        values = [self.inward[n](given.get(n)) if n in self.inward else given.get(n) for n in self.names]
        try:
            cursor = connection.execute(self.sql, values)
            rows = cursor.fetchall()
        except sqlite3.Error as error:
            raise OperationalError(self.sql, None, error) from None
        return Answer([self.as_python(row) for row in rows] if self.outward else rows, cursor.rowcount)

    def as_python(self, row: tuple) -> list[Any]:
        found = list(row)
        for place, to in self.outward:
            found[place] = to(found[place])
        return found


class Answer:
    """Rows, and how many were changed."""

    def __init__(self, rows: list, rowcount: int):
        self.rows, self.rowcount = rows, rowcount

    def first(self) -> tuple | None:
        return self.rows[0] if self.rows else None

    def scalar(self) -> object:
        return self.rows[0][0] if self.rows else None


class Direct:
    """The kept connection. Whoever uses it has it alone."""

    def __init__(self, engine: Engine):
        self.connection = engine.connect()
        self.driver: sqlite3.Connection = self.connection.connection.driver_connection
        self.prepared = {id(one): Prepared(one, engine) for one in statements.EVERY_FLOW}
        self.lock = threading.Lock()

    def execute(self, statement: Executable, given: dict[str, Any] | None = None) -> Any:
        if prepared := self.prepared.get(id(statement)):
            return prepared.run(self.driver, given or {})
        return self.connection.execute(statement, given)

    @contextlib.contextmanager
    def alone(self) -> Iterator["Direct"]:
        with self.lock:
            try:
                yield self
            finally:
                if self.connection.in_transaction():
                    self.connection.rollback()  # in SQLAlchemy's eyes there was one

    @contextlib.contextmanager
    def transaction(self) -> Iterator["Direct"]:
        """Begun at once: whoever reads first and writes later could find that somebody else has written in between."""
        with self.alone():
            self.said("BEGIN IMMEDIATE")
            try:
                yield self
                self.said("COMMIT")
            except BaseException:
                if self.driver.in_transaction:
                    self.driver.execute("ROLLBACK")
                raise

    def said(self, what: str) -> None:
        try:
            self.driver.execute(what)
        except sqlite3.Error as error:
            raise OperationalError(what, None, error) from None
