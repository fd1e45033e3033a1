"""What the rest of voltd knows of a local server: where it is, and how to start, stop and kill it.

The demo, ``voltd local`` and the test fixtures hold these two classes; ``mosquitto``, ``postgres`` and
``containers`` implement them. Nothing here starts a process.
"""

from __future__ import annotations

import abc
import enum
from collections.abc import Callable

from voltd import errors

Progress = Callable[[str], None]


class ServerSource(enum.StrEnum):
    """Where servers come from, in the order in which they are tried."""

    SETTINGS = "settings"  # servers that are there already: VOLTD_TEST_DATABASE_DSN, VOLTD_TEST_MQTT_HOST
    DOCKER = "docker"  # official images
    HOST = "host"  # programs installed on this host
    PRIVATE = "private"  # a tree of Debian packages in the cache, see private_tree


class BrokerServer(abc.ABC):
    """One Mosquitto. Port and stored messages stay the same over restarts; anonymous clients on loopback.

    ``controllable`` is False where the broker belongs to somebody else: start does nothing then, stop and
    kill raise.
    """

    controllable = True
    host: str
    port: int

    @abc.abstractmethod
    def start(self) -> None:
        """Blocks until the broker answers a CONNECT; does nothing where it runs already.

        Raises:
            VoltdError: it did not come up; the message quotes its log.
        """

    @abc.abstractmethod
    def stop(self) -> None:
        """Ends it in good order (it saves its sessions first); blocks until it is gone."""

    @abc.abstractmethod
    def kill(self) -> None:
        """SIGKILL: what it had not saved is lost; blocks until it is gone."""


class DatabaseServer(abc.ABC):
    """One PostgreSQL cluster with a database ``volt`` in which the extension timescaledb is created.

    ``dsn`` is the superuser's conninfo to that database; it stays the same over restarts.
    """

    controllable = True
    host: str
    port: int
    dsn: str

    @abc.abstractmethod
    def start(self) -> None:
        """Blocks until SQL with TimescaleDB works; does nothing where it runs already.

        Raises:
            VoltdError: it did not come up; the message quotes its log.
        """

    @abc.abstractmethod
    def stop(self, immediate: bool = False) -> None:
        """Ends it and blocks until it is gone; ``immediate`` is a crash: the next start recovers from the WAL."""


class GivenBroker(BrokerServer):
    """A broker that somebody else runs."""

    controllable = False

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    def start(self) -> None:
        """It runs already."""

    def stop(self) -> None:
        """Refused."""
        raise _not_ours(f"the broker at {self.host}:{self.port}")

    def kill(self) -> None:
        """Refused."""
        self.stop()


class GivenDatabase(DatabaseServer):
    """A database that somebody else runs."""

    controllable = False

    def __init__(self, dsn: str, host: str, port: int) -> None:
        self.dsn = dsn
        self.host = host
        self.port = port

    def start(self) -> None:
        """It runs already."""

    def stop(self, immediate: bool = False) -> None:  # noqa: ARG002 - the interface's
        """Refused."""
        raise _not_ours(f"the database at {self.host}:{self.port}")


def _not_ours(what: str) -> errors.VoltdError:
    return errors.VoltdError(
        f"{what} was not started by voltd, so voltd does not stop it",
        hint="Unset VOLTD_TEST_DATABASE_DSN and VOLTD_TEST_MQTT_HOST to get servers of voltd's own.",
    )
