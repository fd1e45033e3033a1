"""What the tests of dead letters share: a migrated database, messages as the daemon received them, and the command."""

import datetime as dt
import json
import os
import pathlib
import subprocess
import sys
from typing import Any, LiteralString

import psycopg

from support import commands, databases
from voltd import config, models
from voltd.database import connections
from voltd.pipeline.decode import decoder
from voltd.pipeline.write import store as write

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
VOLTD = str(pathlib.Path(sys.executable).with_name("voltd"))


def reading(minutes_ago: float, **values: Any) -> dict[str, Any]:
    """A reading on the wire, recorded so long before NOW."""
    return {"timestamp": (NOW - dt.timedelta(minutes=minutes_ago)).isoformat(), "soc": 50, **values}


class Rig:
    """Dead letters in a database, and ``voltd dead-letters`` on them."""

    edition = ""  # of the database, where a test asks for one

    def __init__(self, dsn: str, folder: pathlib.Path) -> None:
        self.dsn = dsn
        self._folder = folder

    def receive(self, *messages: tuple[str, Any], at: dt.datetime = NOW, **limits: Any) -> models.WriteResult:
        """Stores payloads by topic, as the daemon would have with these limits."""
        settings = config.Settings(database={"dsn": self.dsn}, limits=limits)
        bodies = [(topic, body if isinstance(body, bytes) else json.dumps(body).encode()) for topic, body in messages]
        received = [
            models.Message(topic, body, number, at, size=len(body), connection=1)
            for number, (topic, body) in enumerate(bodies, 1)
        ]
        batch = decoder.Decoder(settings.mqtt.topics, settings.limits, settings.max_age_days).decode(received)
        store = write.PostgresStore(connections.connector(settings), "test")
        result = store.write(batch)
        store.close()
        return result

    def start(self, *words: str, **settings: object) -> subprocess.Popen[bytes]:
        """The command's process; settings as in the environment, without VOLTD_."""
        environ, pipe = self._environ(settings), subprocess.PIPE
        return subprocess.Popen(
            [VOLTD, "dead-letters", *words], env=environ, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )

    def _environ(self, settings: dict[str, object]) -> dict[str, str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("VOLTD_")}
        environ |= {"VOLTD_DATABASE__DSN": self.dsn, "VOLTD_SPOOL__DIRECTORY": str(self._folder)}
        return environ | {f"VOLTD_{name.upper()}": str(value) for name, value in settings.items()}

    def voltd(self, *words: object, code: int = 0, **settings: object) -> str:
        """What the command prints, on both streams; it ends with ``code``."""
        result = commands.run(["dead-letters", *words], self._environ(settings))
        assert result.returncode == code, (result.stdout, result.stderr)
        assert "Traceback" not in result.stderr
        return result.stdout + result.stderr

    def rows(self, statement: str) -> list[Any]:
        """The rows of a query."""
        return databases.ask(self.dsn, statement)

    def execute(self, statement: LiteralString) -> None:
        """Executes and commits."""
        with psycopg.connect(self.dsn) as connection:
            connection.execute(statement)
