"""What the tests of alerts share: real receivers, readings, and episodes as the evaluation cycle records them."""

import contextlib
import datetime as dt
import email
import email.policy
import http.server
import json
import socket
import threading
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

import psycopg
from aiosmtpd import controller
from psycopg import rows

from support import databases, harness
from voltd import config, metrics
from voltd.alerts import deliver
from voltd.database import connections

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class Webhook:
    """An HTTP receiver that keeps what it is sent, in order; it can refuse, hang, or be away altogether."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, Any]] = []  # (path, body)
        self.status = 200
        self.refuses = "what nobody says"  # a message that says this gets HTTP 400
        self.passes = threading.Event()
        self.passes.set()
        self.tried = 0
        self.heard: list[Any] = []  # also what was not answered
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.tried += 1
                receiver.heard.append(body)
                receiver.passes.wait(30)
                status = 400 if receiver.refuses in str(body) else receiver.status
                if status == 200:
                    receiver.posts.append((self.path, body))
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, *_args: object) -> None:
                pass

        self._handler = Handler
        self.port = 0
        self.up()

    def up(self) -> None:
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), self._handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def down(self) -> None:
        """From now on nobody listens."""
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.port}/hook"

    @property
    def texts(self) -> list[list[str]]:
        """The lines of each message, without the last one, which is its id."""
        return [body["message"].split("\n")[:-1] for _path, body in self.posts]

    @property
    def ids(self) -> list[str]:
        return [body["message"].split("\n")[-1] for _path, body in self.posts]

    @property
    def lines(self) -> list[str]:
        return [line for lines in self.texts for line in lines]

    def hears(self, *texts: str, within_s: float = 45.0) -> None:
        """Waits until each text was received, and holds that each was received once."""
        harness.wait_for(lambda: all(any(text in line for line in self.lines) for text in texts), within_s, texts)
        for text in texts:
            assert sum(text in line for line in self.lines) == 1, self.lines


class Mailbox:
    """What a real SMTP server on this machine receives."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._server = controller.Controller(self, hostname="127.0.0.1", port=self.port)
        self._server.start()

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802 aiosmtpd calls it so
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 OK"

    @property
    def url(self) -> str:
        return f"mailto://127.0.0.1:{self.port}?from=voltd@example.org&to=operators@example.org"

    def close(self) -> None:
        self._server.stop()


def text_of(mail: EmailMessage) -> str:
    """What a person reads in it."""
    body = mail.get_body(("plain", "html"))
    assert body is not None
    return str(body.get_content())


def episodes(dsn: str, where: str = "true") -> list[dict[str, Any]]:
    """Episodes, the oldest first."""
    return databases.ask(dsn, f"SELECT * FROM volt.alert WHERE {where} ORDER BY alert_id", None, rows.dict_row)


def publish(
    publisher: harness.Publisher,
    daemon: harness.Daemon,
    device: str,
    seconds_ago: float = 0.0,
    *,
    kind: str = "vehicle",
    retain: bool = False,
    **values: Any,
) -> None:
    """One reading, as measured so many seconds ago by the device's clock; returns once the broker has it."""
    at = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds_ago)
    payload = json.dumps({"timestamp": at.isoformat(), **values})
    publisher.flush([publisher.publish(f"{daemon.name}/{kind}/{device}", payload, retain=retain)])


class Rig:
    """A database with voltd's schema, and deliverers on it."""

    def __init__(self, dsn: str, broker: Any) -> None:
        self.dsn, self._broker = dsn, broker
        self._made: list[Any] = []
        self._channels: Any = ()

    def settings(self, *, mqtt: bool = False, **channels: Any) -> config.Settings:
        return config.Settings(
            instance="t",
            database={"dsn": self.dsn},
            mqtt={"host": self._broker.host, "port": self._broker.port},
            alerts={"mqtt": mqtt, "channels": channels},
        )

    def deliverer(
        self,
        *,
        leads: bool = True,
        mqtt: bool = False,
        lease_s: float = 30.0,
        connect: Callable[[], Any] | None = None,
        **channels: Any,
    ) -> Any:
        settings = self.settings(mqtt=mqtt, **channels)
        connect = connect or connections.connector(settings)
        made = deliver.Deliverer(settings, connect, metrics.Metrics(), lease_s=lease_s)
        self._made.append(made)
        self._channels = made.every_channel
        made.start()
        made.lead(leads=leads)
        return made

    def execute(self, statement: Any, *values: Any) -> list[Any]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            found = connection.execute(statement, values)
            return found.fetchall() if found.description else []

    def fire(
        self,
        device: str = "V1",
        rule: str = "soc_low",
        severity: str = "warning",
        *,
        fleet_id: str | None = "north",
        quiet: bool = False,
    ) -> int:
        """A new episode; its number."""
        text = f"vehicle {device}: {rule} {severity}"
        ((alert_id,),) = self.execute(
            "INSERT INTO volt.alert (rule, severity, device_type, device_id, fleet_id, opened_at, last_seen_at,"
            " peak_value, message) VALUES (%s, %s, 'vehicle', %s, %s, now(), now(), 12.5, %s) RETURNING alert_id",
            rule, severity, device, fleet_id, text,
        )  # fmt: skip
        self._notify(alert_id, "fired", severity, text, quiet=quiet)
        return int(alert_id)

    def escalate(self, alert_id: int) -> None:
        ((text,),) = self.execute(
            "UPDATE volt.alert SET severity = 'critical', message = 'worse: ' || message WHERE alert_id = %s"
            " RETURNING message",
            alert_id,
        )
        self._notify(alert_id, "escalated", "critical", text)

    def resolve(self, alert_id: int, *, quiet: bool = False) -> None:
        with psycopg.connect(self.dsn) as connection:  # both or neither, as the check does it
            ((severity, text),) = connection.execute(
                "UPDATE volt.alert SET resolved_at = greatest(now(), opened_at), message = message || ' is over'"
                " WHERE alert_id = %s RETURNING severity, message",
                (alert_id,),
            ).fetchall()
            self._notify(alert_id, "resolved", severity, text, quiet=quiet, connection=connection)
        self.wake()

    def _notify(
        self,
        alert_id: int,
        transition: str,
        severity: str,
        text: str,
        *,
        quiet: bool = False,
        connection: psycopg.Connection[Any] | None = None,
    ) -> None:
        with contextlib.nullcontext(connection) if connection else psycopg.connect(self.dsn) as used:
            ((rule, fleet_id),) = used.execute(
                "SELECT rule, fleet_id FROM volt.alert WHERE alert_id = %s", (alert_id,)
            ).fetchall()
            for channel in self._channels:
                if channel.wants(severity=severity, rule=rule, fleet_id=fleet_id, transition=transition, quiet=quiet):
                    used.execute(
                        "INSERT INTO volt.alert_delivery (alert_id, channel, transition, quiet, severity, message)"
                        " VALUES (%s, %s, %s, %s, %s, %s)",
                        (alert_id, channel.name, transition, quiet, severity, text),
                    )
        if connection is None:
            self.wake()

    def wake(self) -> None:
        for one in self._made:
            one.wake()

    def rows(self, columns: str = "transition, status", channel: str = "hook") -> list[Any]:
        query = f"SELECT {columns} FROM volt.alert_delivery WHERE channel = %s ORDER BY delivery_id"
        return databases.ask(self.dsn, query, [channel])

    def settled(self, within_s: float = 45.0) -> None:
        """Returns once nothing waits any more."""
        harness.wait_for(
            lambda: not harness.count(self.dsn, "alert_delivery", "status = 'waiting'"), within_s, "the end"
        )

    def close(self) -> None:
        for one in self._made:
            one.stop()
