"""The interface of a local server: where it is, and how to start, stop and kill it.

The demo, ``voltd local`` and the test fixtures use these two classes; ``mosquitto``, ``postgres`` and ``containers``
implement them. Nothing here starts a process.
"""

from __future__ import annotations

import abc
import enum
from collections.abc import Callable

from voltd import errors

Progress = Callable[[str], None]


class ServerSource(enum.StrEnum):
    """Where servers come from, in the order in which they are tried."""

    SETTINGS = "settings"  # servers that run already: VOLTD_TEST_DATABASE_DSN, VOLTD_TEST_MQTT_HOST
    DOCKER = "docker"  # official images
    HOST = "host"  # programs installed on this host
    PRIVATE = "private"  # a tree of Debian packages in the cache, see private_tree


class BrokerServer(abc.ABC):
    """One Mosquitto. Port and stored messages stay the same over restarts; anonymous clients on loopback.

    ``controllable`` is False for a broker that voltd did not start: start does nothing then, stop and kill raise.
    """

    controllable = True
    host: str
    port: int

    @abc.abstractmethod
    def start(self) -> None:
        """Starts it unless it runs, and blocks until it answers a CONNECT.

        Raises:
            VoltdError: it did not come up; the message quotes its log.
        """

    @abc.abstractmethod
    def stop(self) -> None:
        """Shuts it down cleanly, so that it saves its sessions; blocks until it has ended."""

    @abc.abstractmethod
    def kill(self) -> None:
        """Kills it: what it had not saved is lost; blocks until it has ended."""


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
        """Starts it unless it runs, and blocks until SQL with TimescaleDB works.

        Raises:
            VoltdError: it did not come up; the message quotes its log.
        """

    @abc.abstractmethod
    def stop(self, immediate: bool = False) -> None:
        """Ends it and blocks until it has ended; ``immediate`` is a crash: the next start recovers from the WAL."""


class GivenBroker(BrokerServer):
    """A broker that voltd did not start."""

    controllable = False

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    def start(self) -> None:
        """Does nothing: it runs already."""

    def stop(self) -> None:
        """Raises VoltdError: voltd did not start it."""
        raise _not_ours(f"the broker at {self.host}:{self.port}")

    def kill(self) -> None:
        """Raises VoltdError: voltd did not start it."""
        self.stop()


class GivenDatabase(DatabaseServer):
    """A database that voltd did not start."""

    controllable = False

    def __init__(self, dsn: str, host: str, port: int) -> None:
        self.dsn = dsn
        self.host = host
        self.port = port

    def start(self) -> None:
        """Does nothing: it runs already."""

    def stop(self, immediate: bool = False) -> None:  # noqa: ARG002 - the interface's
        """Raises VoltdError: voltd did not start it."""
        raise _not_ours(f"the database at {self.host}:{self.port}")


def _not_ours(what: str) -> errors.VoltdError:
    return errors.VoltdError(
        f"{what} was not started by voltd, which therefore does not stop it",
        hint="To get servers of voltd's own, unset VOLTD_TEST_DATABASE_DSN and VOLTD_TEST_MQTT_HOST.",
    )
