"""Faults of the database and of the way to it."""

import contextlib

from faults import small_disk
from faults.registry import fault, hold
from support import harness
from voltd.local import postgres, process, sources

_FILLER_ROOM = 200 << 20


@fault
def database_killed(stage, oracle, hold_s):
    """Immediate stop in the stream; publishers continue, and all is stored when it is back."""
    with away(stage):
        oracle.publisher.await_acked(100)
        hold(hold_s)


@fault
def database_flaps(stage, oracle, hold_s):
    """It comes and goes faster than the spool begins."""
    for _ in range(3):
        with away(stage):
            hold(hold_s / 8)
        oracle.publisher.await_acked(50)


@fault
def sessions_terminated_in_copy(stage, oracle, hold_s):
    """pg_terminate_backend when the server has half of a COPY: nothing of it stays, all of it is redelivered."""
    for _ in range(3):
        terminated = []
        stage.to_database.once_in_copy(lambda: terminated.append(_terminate(stage)))  # noqa: B023
        harness.wait_for(lambda: terminated, what="a COPY")  # noqa: B023
        assert terminated[0] > 0
        oracle.publisher.await_acked(50)
    hold(hold_s / 8)


@fault
def cut_between_commit_and_reply(stage, oracle, hold_s):
    """Committed, but the daemon receives no reply: neither rows nor counters are doubled."""
    for _ in range(3):
        stage.to_database.lose_reply_of_commit()
        harness.wait_for(lambda: not stage.to_database.loses_reply, what="a COMMIT")
        oracle.publisher.await_acked(50)
    hold(hold_s / 8)


@fault
def database_killed_at_commit(stage, oracle, hold_s):
    """A crash loses the end of the WAL: the transaction's number is reused, by one that commits."""
    for _ in range(3):
        killed = []
        stage.to_database.once_at_commit(lambda: killed.append(_kill_and_shut_out(stage)))  # noqa: B023
        harness.wait_for(lambda: killed, what="a COMMIT")  # noqa: B023
        stage.database.start()
        with stage.admin() as admin:
            admin.execute("SELECT pg_current_xact_id()")
        stage.to_database.admit()
        oracle.publisher.await_acked(50)
    hold(hold_s / 8)


@fault
def database_connection_cut(stage, oracle, hold_s):
    """Cut wherever it happens to be."""
    for _ in range(5):
        oracle.publisher.await_acked(50)
        stage.to_database.cut()
    hold(hold_s / 8)


@fault
def database_in_a_black_hole(stage, oracle, hold_s):
    """No answer and no error: the daemon waits without losing the broker, and continues."""
    stage.to_database.fall_silent()
    oracle.publisher.await_acked(100)
    hold(hold_s)
    stage.to_database.pass_on()
    assert stage.daemon.process.poll() is None


@fault
def database_disk_full(stage, oracle, hold_s):
    """No room for rows or WAL: readings wait in the spool until there is room again."""
    stage.database.stop(immediate=True)
    try:
        with small_disk.over(stage.database_folder, _FILLER_ROOM):
            stage.database.start()
            failed = stage.daemon.log().count("No space left")
            ballast = stage.database_folder / "ballast"
            free = 1 << 20
            while free >= 4096:  # to the last page
                with contextlib.suppress(OSError), ballast.open("ab") as file:
                    while True:
                        file.write(b"\0" * free)
                        file.flush()
                free //= 16
            harness.wait_for(
                lambda: stage.daemon.log().count("No space left") > failed or not stage.database.running,
                30,
                "the full disk being noticed",
            )
            hold(hold_s / 2)
            oracle.publisher.await_acked(50)
            ballast.unlink()
            stage.database.start()
            hold(hold_s / 4)
            stage.database.stop(immediate=True)
    finally:
        stage.database.start()


@fault
def database_read_only(stage, oracle, hold_s):
    """default_transaction_read_only: transient, with the hint to look for the primary."""
    refused = stage.daemon.log().count("read-only")
    with stage.admin() as admin:
        admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        admin.execute("SELECT pg_reload_conf()")
        try:
            harness.wait_for(lambda: stage.daemon.log().count("read-only") > refused, what="the refusal being reported")
            oracle.publisher.await_acked(100)
            hold(hold_s / 2)
        finally:
            admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
            admin.execute("SELECT pg_reload_conf()")


@fault
def standby_in_place_of_the_primary(stage, oracle, hold_s):
    """The address leads to a hot standby for a while: nothing can be written there, all is stored on the primary."""
    with standby(stage) as server:
        refused = stage.daemon.log().count("read-only")
        stage.to_database.lead_to(server.host, server.port)
        try:
            harness.wait_for(lambda: stage.daemon.log().count("read-only") > refused, what="the refusal being reported")
            oracle.publisher.await_acked(100)
            hold(hold_s / 2)
        finally:
            stage.to_database.lead_to(stage.database.host, stage.database.port)


@fault
def late_readings_into_compressed_chunks(stage, oracle, hold_s):
    """Community edition: chunks of old days are compressed; redeliveries and new readings for them are stored once."""
    with stage.admin() as admin:
        if admin.execute("SHOW timescaledb.license").fetchone()[0] != "timescale":
            raise small_disk.NotPossible("compressed chunks need the Community edition")
        oracle.publisher.offset = -10 * oracle.DAY
        try:
            oracle.publisher.await_acked(300)
            oracle.publisher.settle()
            stage.at_rest()
            compressed = admin.execute(
                "SELECT count(compress_chunk(chunk, if_not_compressed => true)) FROM"
                " (SELECT show_chunks('volt.vehicle_reading', older_than => now() - interval '5 days') AS chunk"
                " UNION ALL SELECT show_chunks('volt.meter_reading', older_than => now() - interval '5 days')) AS old"
            ).fetchone()[0]
            assert compressed >= 2
            oracle.publisher.publish_again(200)
            oracle.publisher.go()
            oracle.publisher.await_acked(300)
            hold(hold_s / 4)
        finally:
            oracle.publisher.offset = 0 * oracle.DAY


# -- how


@contextlib.contextmanager
def away(stage):
    """The database is down meanwhile, as after a crash."""
    stage.database.stop(immediate=True)
    try:
        yield
    finally:
        stage.database.start()


def _kill_and_shut_out(stage):
    stage.to_database.shut_out()
    stage.database.stop(immediate=True)
    return True


def _terminate(stage):
    with stage.admin() as admin:
        return admin.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'voltd-%'"
        ).fetchone()[0]


@contextlib.contextmanager
def standby(stage):
    """A hot standby of the stage's database."""
    home = stage.standby_home
    account = process.account()
    process.hand_over(home, account)
    chosen = sources.choose({}, lambda _line: None).postgres
    done = process.run(
        [
            str(chosen.bin / "pg_basebackup"), "-D", str(home / "postgresql"), "-R", "-c", "fast", "-X", "stream",
            "-h", stage.database.host, "-p", str(stage.database.port), "-U", "postgres", "--no-sync",
        ],
        account,
    )  # fmt: skip
    if done.returncode:
        raise small_disk.NotPossible(f"no standby: {done.stdout.strip()}")
    server = postgres.Postgres(chosen, home, account, port=0, conf=["max_wal_size = '256MB'"], durable=False)
    try:
        server.start()
        yield server
    finally:
        server.stop(immediate=True)
        process.remove(home)
