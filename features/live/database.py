"""The live database: events and item changes since the last nightly run, shared by every replica and the run.

SQLite in the workspace by default, PostgreSQL where replicas run on several machines: SQLite's write-ahead log needs
one machine. With `features/live/event_log.py` and `features/live/item_changes.py` the only home of SQLAlchemy.
"""

from __future__ import annotations

import logging
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.sql.compiler import SQLCompiler

from recsys.errors import ConfigError, StoreError
from recsys.workspace import Workspace

log = logging.getLogger(__name__)

BUSY_TIMEOUT_S: Final = 5.0
"""How long a writer waits for another process's transaction."""

CONNECT_TIMEOUT_S: Final = 3
STATEMENT_TIMEOUT_MS: Final = 10_000
WRITERS_LOCK: Final = 7_242_001
"""PostgreSQL's advisory lock that writers share and `settled` takes alone."""

RESTART_PATIENCE_S: Final = 60.0
RESTART_PAUSE_S: Final = 0.5
"""How long a nightly run waits for a server that has answered it before, and how often it tries."""

WAL_RETRIES: Final = 100
WAL_PAUSE_S: Final = 0.02
SCRUB_TRIES: Final = 3

PRUNED_AT_ONCE: Final = 2_000
"""Rows that one transaction deletes: in SQLite new events wait for it."""

PAGES_AT_ONCE: Final = 256
"""Pages, of 4 kB, that one transaction gives back to the disk: a few milliseconds, for which events wait."""

LOG_BYTES: Final = 8 * 2**20
"""What stays of the write-ahead log's file after a large change."""

REWRITE_BYTES: Final = 64 * 2**20
"""A file of an earlier version is rewritten once, so that it can give pages back, where that takes under a second."""

T = TypeVar("T")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

METADATA: Final = sa.MetaData()
BIG: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""64 bits; SQLite numbers rows by itself only in a column that is called INTEGER."""

IDENTITY: Final = sa.Table(
    "identity", METADATA, sa.Column("one", sa.Integer, primary_key=True), sa.Column("id", sa.Text)
)
"""One row: an id drawn when the database was created, so that a position in another database is not used in this
one."""


class LiveDatabase:
    """An open database; its tables are created at the first use. Safe to use from several threads.

    Every failure of the database is a StoreError that names it (a URL without its password) and the remedy.
    """

    def __init__(self, url: sa.URL) -> None:
        self._is_sqlite = url.get_backend_name() == "sqlite"
        self.shown = str(url.database) if self._is_sqlite else url.render_as_string(hide_password=True)
        self._path = Path(str(url.database)) if self._is_sqlite else None
        # Readers commit nothing and so need no transaction, which would cost two more exchanges a read.
        self._writing = _engine(url)
        self._reading = _engine(url, isolation_level="AUTOCOMMIT", pool_reset_on_return=None)
        driver = self._reading.dialect.loaded_dbapi
        self._failures: tuple[type[Exception], ...] = (exc.SQLAlchemyError, OSError, driver.Error)
        self._compiled: dict[sa.Select[Any], SQLCompiler] = {}
        self._ready = False
        self._making = threading.Lock()
        self._id = ""

    @property
    def is_local(self) -> bool:
        """Whether it is read from this machine's memory and disk, without a server."""
        return self._is_sqlite

    @property
    def exists(self) -> bool:
        """Whether it has been created: a reader should not create an empty one. Always true of PostgreSQL."""
        return self._path is None or self._path.exists()

    @property
    def id(self) -> str:
        """A random id, drawn when the database was created."""
        self._make_tables()
        return self._id

    def insert(self, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
        """An INSERT that knows ON CONFLICT, in this database's dialect."""
        return sqlite.insert(table) if self._is_sqlite else postgresql.insert(table)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading; every statement sees what was committed before it."""
        self._make_tables()
        with self._store_errors("read"), self._reading.connect() as connection:
            yield connection

    def rows(self, statement: sa.Select[Any], parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """The rows of a fixed statement, as the driver returns them; on the path of every list. SQLAlchemy's overhead
        is several times what SQLite needs, so it only compiles the statement, once. Columns must be texts and
        numbers."""
        self._make_tables()
        compiled = self._compiled.get(statement)
        if compiled is None:
            compiled = self._compiled[statement] = statement.compile(dialect=self._reading.dialect)
        values: Any = compiled.construct_params(parameters)
        if compiled.positional:
            values = tuple(values[name] for name in compiled.positiontup or ())
        with self._store_errors("read"):
            connection = self._reading.raw_connection()
            try:
                with closing(connection.cursor()) as cursor:
                    cursor.execute(str(compiled), values)
                    return list(cursor.fetchall())
            except self._failures:
                connection.invalidate()  # a server that has gone leaves connections that answer no more
                raise
            finally:
                connection.close()

    def patiently(self, work: Callable[[], T]) -> T:
        """What `work` answers, done again where a server that has answered before does not: one that restarts lets
        nobody in for seconds. `work` must be such that doing it twice changes nothing.

        Raises the StoreError of the last try after `RESTART_PATIENCE_S`, and at once where the database is a file or
        has never answered.
        """
        until_s = time.monotonic() + RESTART_PATIENCE_S
        while True:
            try:
                return work()
            except StoreError as error:
                if self._is_sqlite or not self._ready or time.monotonic() > until_s:
                    raise
                log.warning("live_database_away again_in_s=%.1f reason=%r", RESTART_PAUSE_S, str(error))
            time.sleep(RESTART_PAUSE_S)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction: on the disk, whole, when the block has ended without an error."""
        self._make_tables()
        with self._store_errors("written"), self._writing.begin() as connection:
            if not self._is_sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock_shared(WRITERS_LOCK)))
            yield connection

    @contextmanager
    def settled(self) -> Iterator[Connection]:
        """A transaction while nobody writes: every row that has been numbered by then is visible, or never will be.

        Without it a row of a transaction that is still under way could appear later, behind a position already read.
        SQLite has one writer at a time and numbers rows in the order of their commits.
        """
        self._make_tables()
        with self._store_errors("read"), self._writing.begin() as connection:
            if not self._is_sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(WRITERS_LOCK)))
            yield connection

    def delete_unreadably(self, connection: Connection) -> None:
        """What this connection deletes is overwritten with zeros where the database can: SQLite, apart from its log."""
        if self._is_sqlite:
            connection.exec_driver_sql("PRAGMA secure_delete=ON")

    def scrub(self) -> None:
        """Take what was deleted off the disk: SQLite's file is rewritten and its log emptied; PostgreSQL vacuums its
        tables, so that their pages may be overwritten. Raises StoreError where readers keep the log in use."""
        self._make_tables()
        with self._store_errors("cleared"), self._reading.connect() as connection:
            if not self._is_sqlite:
                connection.exec_driver_sql("SET statement_timeout = 0")
                try:
                    for table in METADATA.sorted_tables:
                        connection.exec_driver_sql(f"VACUUM {table.name}")
                finally:
                    connection.exec_driver_sql("RESET statement_timeout")
                return
            connection.exec_driver_sql("VACUUM")
            for _ in range(SCRUB_TRIES):  # each waits for readers as long as a writer does
                if not connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]:
                    return
        raise StoreError(f"{self.shown}: what was deleted stays in its log while others read it; try again")

    def in_steps(self, step: Callable[[Connection], int]) -> int:
        """Call `step` in one short transaction after another, until it returns 0. Between them this waits as long as
        the last took, so that requests write at half their speed at worst. Returns the sum."""
        total = 0
        while True:
            started_s = time.monotonic()
            with self.write() as connection:
                n_done = step(connection)
            if not n_done:
                return total
            total += n_done
            time.sleep(time.monotonic() - started_s)

    def give_back(self) -> int:
        """Return the space of deleted rows to the disk, little by little, while others read and write. Returns the
        bytes; 0 for PostgreSQL, which uses the space again by itself, and for a large file of a version before this
        one, which does so until `scrub` has rewritten it. Raises StoreError where that fails."""
        if not self._is_sqlite:
            return 0
        self._make_tables()
        with self._store_errors("cleared"), self._reading.connect() as connection:
            before = self._pragma(connection, "page_count")
            page_bytes = self._pragma(connection, "page_size")
            if not self._pragma(connection, "auto_vacuum"):
                if before * page_bytes > REWRITE_BYTES:
                    return 0
                connection.exec_driver_sql("VACUUM")
            while self._pragma(connection, "freelist_count"):
                started_s = time.monotonic()
                # All its steps are taken: as a statement of its own it would free one page.
                connection.connection.executescript(f"PRAGMA incremental_vacuum({PAGES_AT_ONCE})")
                time.sleep(time.monotonic() - started_s)
            connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")
            return (before - self._pragma(connection, "page_count")) * page_bytes

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._reading.dispose()
        self._writing.dispose()

    def _make_tables(self) -> None:
        if self._ready:
            return
        with self._making, self._store_errors("made"):
            if self._path is not None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._writing.begin() as connection:
                if not self._is_sqlite:
                    # IF NOT EXISTS alone fails where two processes start at once.
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(WRITERS_LOCK)))
                there = sa.inspect(connection).get_table_names()
                for table in METADATA.sorted_tables:
                    if table.name in there:
                        _add_new_columns(connection, table)
                    connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
                    for index in table.indexes:
                        connection.execute(sa.schema.CreateIndex(index, if_not_exists=True))
                named = self.insert(IDENTITY).values(one=1, id=secrets.token_hex(8)).on_conflict_do_nothing()
                connection.execute(named)
                self._id = str(connection.scalar(sa.select(IDENTITY.c.id)))
            self._ready = True

    @staticmethod
    def _pragma(connection: Connection, name: str) -> int:
        return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())

    @contextmanager
    def _store_errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._failures as error:
            reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            remedy = "look at its disk and permissions" if self._is_sqlite else "see that it runs and lets you in"
            raise StoreError(f"{self.shown}: the live database cannot be {what} ({reason}); {remedy}") from error


def _add_new_columns(connection: Connection, table: sa.Table) -> None:
    """Add the columns that a table of an earlier version of the product lacks; they are null in its rows."""
    there = {column["name"] for column in sa.inspect(connection).get_columns(table.name)}
    for column in table.columns:
        if column.name not in there:
            kind = column.type.compile(connection.dialect)
            connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {column.name} {kind}")


def open_live_database(workspace: Workspace, url: str) -> LiveDatabase:
    """The database at `url` (`postgresql://user:password@host/name`), with "" SQLite in the workspace.

    Nothing is connected or made yet. Raises ConfigError for a URL of another kind or without its driver.
    """
    if not url:
        return LiveDatabase(sa.URL.create("sqlite", database=str(workspace.live_database)))
    example = "write it as postgresql://user:password@host/name, or leave it empty for SQLite in the workspace"
    try:
        parsed = sa.make_url(url)
    except exc.ArgumentError:
        raise ConfigError(f"setting serve.events_url: not a URL; {example}") from None
    if parsed.get_backend_name() != "postgresql":
        raise ConfigError(f"setting serve.events_url: {parsed.drivername} is not known; {example}")
    try:
        return LiveDatabase(parsed.set(drivername="postgresql+psycopg"))
    except ImportError:
        raise ConfigError(
            "setting serve.events_url: PostgreSQL needs its driver; run `pip install 'recsys[postgres]'`"
        ) from None


def microseconds(moment: datetime) -> int:
    """Since 1970, as moments are stored."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(microseconds: int) -> datetime:
    """What `microseconds` stored, in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


def _engine(url: sa.URL, **options: Any) -> Engine:
    if url.get_backend_name() == "sqlite":
        engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S}, **options)
        sa.event.listen(engine, "connect", _prepare_sqlite)
        return engine
    connect = {"connect_timeout": CONNECT_TIMEOUT_S, "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS}"}
    # A server that was restarted has closed what the pool holds: ask before use.
    return sa.create_engine(url, connect_args=connect, pool_pre_ping=True, pool_timeout=CONNECT_TIMEOUT_S, **options)


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    """Readers and the writer do not wait for each other (WAL), and a commit is on the disk when it returns (FULL)."""
    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # of a file without tables, or at its next VACUUM
    connection.execute(f"PRAGMA journal_size_limit={LOG_BYTES}")
    connection.execute("PRAGMA synchronous=FULL")
    for _ in range(WAL_RETRIES):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:  # another process is just doing the same; SQLite does not wait here
            time.sleep(WAL_PAUSE_S)
        else:
            return
    connection.execute("PRAGMA journal_mode=WAL")
