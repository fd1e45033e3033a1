"""Where faults happen: a broker and a database of its own, a proxy before each, and one daemon as a process.

The daemon knows only the proxies; the publisher and the oracle talk to the servers themselves. Everything can be
stopped, killed and started again, and ``close`` removes all of it.
"""

import contextlib
import datetime as dt
import os
import pathlib
import secrets
import shutil
import tempfile

import psycopg
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from psycopg import conninfo

from faults import small_disk
from support import harness, homes, proxies
from voltd import errors, local
from voltd.database import migrate

COPY_SIGNATURE = b"PGCOPY\n\xff\r\n\0"


class DatabaseProxy(proxies.CommitLosingProxy):
    """Can also interrupt a COPY whose first half the server has, and a batch whose COMMIT it does not have yet."""

    def __init__(self, host, port):
        super().__init__(host, port)
        self._in_copy = self._at_commit = None
        self._copied = False

    def once_at_commit(self, action):
        """Calls ``action`` when the client commits a COPY, before the server receives it."""
        self._copied, self._at_commit = False, action

    def once_in_copy(self, action):
        """Calls ``action`` when the server has one half of a COPY's data and waits for the other."""
        self._in_copy = action

    @property
    def loses_reply(self):
        """Whether the next COMMIT's reply is still to be lost."""
        return self._lose.is_set()

    def lead_to(self, host, port):
        """To another server from now on."""
        self._target = (host, port)
        self.cut()

    def transfer(self, data, sink, *, from_client):
        at_commit = self._at_commit
        if from_client and at_commit:
            self._copied = self._copied or COPY_SIGNATURE in data
            if self._copied and b"COMMIT" in data:
                self._at_commit = None
                at_commit()
        action = self._in_copy
        if from_client and action and COPY_SIGNATURE in data:
            self._in_copy = None
            middle = (data.index(COPY_SIGNATURE) + len(data)) // 2
            sink.sendall(data[:middle])
            action()
            data = data[middle:]
        sink.sendall(data)


class Stage:
    """Broker, database and daemon.

    Attributes:
        broker, database: the servers, see ``voltd.local``.
        to_broker, to_database: the proxies that the daemon goes through.
        daemon: the daemon, running after ``start``.
    """

    def __init__(self, *, progress=lambda _line: None, **settings):
        name = f"f{secrets.token_hex(4)}"
        self._home = homes.new("faults")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="voltd-test-faults-daemon-"))
        self._undo = contextlib.ExitStack()
        self._undo.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self._base_conf = ["autosave_interval 1"]  # seconds: what a kill makes it forget
        self._broker_conf = list(self._base_conf)
        environ = {key: value for key, value in os.environ.items() if not key.startswith("VOLTD_")}
        environ["VOLTD_LOCAL_SOURCE"] = "private" if os.environ.get("VOLTD_LOCAL_SOURCE") == "private" else "host"
        try:
            self.servers = local.start(
                self._home,
                progress=progress,
                environ=environ,
                broker_conf=self._broker_conf,
                postgres_conf=["max_wal_size = '256MB'", "restart_after_crash = on"],
            )
        except errors.ServersNotFound as problem:
            self._undo.close()
            raise small_disk.NotPossible(f"no servers that may be killed: {problem}") from problem
        self._undo.callback(self.servers.stop)
        try:
            self.broker, self.database = self.servers.broker, self.servers.database
            migrate.migrate(self.database.dsn, migrate.MigrateOptions(), report=lambda _line: None)
            self.to_broker = proxies.Proxy(self.broker.host, self.broker.port)
            self._undo.callback(self.to_broker.close)
            self.to_database = DatabaseProxy(self.database.host, self.database.port)
            self._undo.callback(self.to_database.close)
            self.daemon = self._new_daemon(name, settings)
            self._undo.callback(self._end_daemons)
            self._daemons = [self.daemon]
            self._at_start = None
        except BaseException:
            self.close()
            raise

    def _new_daemon(self, name, settings):
        host, port = self.to_database.address
        always = {
            "mqtt__keepalive_s": 5,
            "mqtt__reconnect_max_s": 0.5,
            "database__retry_max_s": 0.5,
            "database__connect_timeout_s": 2,
            "spool__after_s": 1.0,
            "spool__min_free_bytes": 0,
            "log__level": "info",
        }
        return harness.Daemon(
            dsn=conninfo.make_conninfo(self.database.dsn, host=host, port=port),
            mqtt=self.to_broker.address,
            name=name,
            log=self.folder / "voltd.log",
            **{**always, **settings},
        )

    # -- the daemon

    @property
    def spool_folder(self):
        return pathlib.Path(self.daemon.env["VOLTD_SPOOL__DIRECTORY"])

    def start(self, *, wait=True):
        """Starts the daemon, and records the tables' rows, from which its counters begin."""
        try:
            self._await_no_sessions()
            self._at_start = self._tables()
        except psycopg.OperationalError:  # the database is away; what a killed daemon left unfinished is unknown
            self._at_start = None
        self.daemon.start(wait=wait)
        return self

    def restart(self, **settings):
        """SIGTERM, then a start with these settings; returns the earlier values, for a later ``restart``."""
        assert self.daemon.terminate() == 0
        before = self.set(**settings)
        self.start()
        return before

    def set(self, **settings):
        """Settings for the next start, None unsets; returns what they were."""
        before = {}
        for name, value in settings.items():
            variable = f"VOLTD_{name.upper()}"
            before[name] = self.daemon.env.pop(variable, None)
            if value is not None:
                self.daemon.env[variable] = str(value)
        return before

    def also(self, daemon):
        """A daemon that ends with the stage."""
        self._daemons.append(daemon)
        return daemon

    def another_daemon(self, **settings):
        """A daemon of the same topics with its own instance, not started."""
        made = self._new_daemon(self.daemon.name, settings)
        made.env["VOLTD_INSTANCE"] = f"{self.daemon.name}-{secrets.token_hex(2)}"
        return self.also(made)

    def counted(self):
        """What tables gained since the daemon's start: (readings, dead letters); None where that is not known."""
        if self._at_start is None:
            return None
        return tuple(now - then for now, then in zip(self._tables(), self._at_start, strict=True))

    def forget_start(self):
        """The daemon's counters are not to be compared: something else wrote, too."""
        self._at_start = None

    def _tables(self):
        with self.admin() as connection:
            return connection.execute(
                "SELECT (SELECT count(*) FROM volt.vehicle_reading) + (SELECT count(*) FROM volt.meter_reading),"
                " (SELECT count(*) FROM volt.dead_letter)"
            ).fetchone()

    def _await_no_sessions(self):
        """Waits until the database has ended the killed daemon's sessions: a running COMMIT counts or does not."""

        def gone():
            with self.admin() as connection:
                return not connection.execute(
                    "SELECT FROM pg_stat_activity WHERE application_name LIKE 'voltd-%'"
                ).fetchall()

        self.to_database.cut()
        harness.wait_for(gone, what="the end of the daemon's sessions")

    def at_rest(self, within_s=60.0):
        """Waits for a status from now on with nothing in the window and nothing in the spool; returns it."""
        since = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=0.5)  # messages in flight have arrived

        def resting():
            status = self.daemon.status()
            if status.get("status") != "online" or dt.datetime.fromisoformat(status["at"]) < since:
                return None
            return status if not status["in_flight"] and not status["readings_spooled"] else None

        return harness.wait_for(resting, within_s, "a status with an empty window and an empty spool")

    def forget_session(self):
        """The broker forgets the daemon's session; only while the daemon is away."""
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"voltd-{self.daemon.name}", protocol=paho.MQTTv5)
        client.connect(self.broker.host, self.broker.port, clean_start=True)
        client.loop_start()
        harness.wait_for(client.is_connected, what="taking the session's place")
        client.disconnect()
        client.loop_stop()

    # -- the servers

    def admin(self):
        """A superuser's connection straight to the database, autocommit."""
        return psycopg.connect(
            self.database.dsn, autocommit=True, connect_timeout=5, options="-c default_transaction_read_only=off"
        )

    @contextlib.contextmanager
    def locked_tables(self):
        """Nothing can be written meanwhile: what the daemon takes stays in its window, unacked."""
        with psycopg.connect(self.database.dsn) as blocker:
            blocker.execute(
                "LOCK TABLE volt.vehicle_reading, volt.meter_reading, volt.dead_letter IN ACCESS EXCLUSIVE MODE"
            )
            yield
            blocker.rollback()

    def broker_with(self, *conf):
        """Lines of mosquitto.conf for the next start of the broker, in place of the usual ones."""
        self._broker_conf[:] = conf or self._base_conf

    @property
    def _saved(self):
        return self._home / "mosquitto/mosquitto.db"

    def wipe_broker(self):
        """Deletes what the broker has saved; only while it is down."""
        self._saved.unlink(missing_ok=True)

    def await_saved(self):
        """Until the broker has written down everything it knows now."""

        def saved_at():
            try:
                return self._saved.stat().st_mtime_ns
            except FileNotFoundError:
                return 0

        for _ in range(2):  # the first may have begun before
            earlier = saved_at()
            harness.wait_for(lambda: saved_at() != earlier, what="the broker's save")  # noqa: B023

    def connected(self):
        """How often the daemon has connected to the broker."""
        return self.daemon.events("broker.connected")

    @property
    def standby_home(self):
        """Where a second cluster may be: what is left running there ends with the stage."""
        return self._home / "standby"

    @property
    def database_folder(self):
        return self._home / "postgresql"

    def _end_daemons(self):
        for daemon in self._daemons:
            daemon.close()

    def close(self):
        """Ends everything and deletes it."""
        self._undo.close()
