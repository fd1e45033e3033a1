"""Every error voltd raises on purpose: one root, each class says the fate of the data and what to do next.

Foreign errors (psycopg, paho, OS) are wrapped once, at the edge that talks to them.
"""


class VoltdError(Exception):
    """Something voltd can explain.

    ``hint`` tells a person what to do next; ``exit_code`` is what a command ends with when it goes uncaught.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigurationError(VoltdError):
    """Configuration: nothing was started, nothing was taken from the broker. systemd does not restart on it."""

    exit_code = 78


class SchemaError(ConfigurationError):
    """Configuration: the database's schema is missing, behind, ahead or altered; nothing was written."""


class UsageError(VoltdError):
    """Usage: the command's arguments make no sense together; nothing was done."""

    exit_code = 2


class StoreUnavailable(VoltdError):
    """Transient: the database cannot take the batch now; nothing of it was committed, keep it and try again."""


class StoreRejected(VoltdError):
    """Permanent: the database will never take these rows as they are; nothing of the batch was committed.

    The caller isolates the rows at fault; the rest of the batch goes in.
    """

    def __init__(self, message: str, *, sqlstate: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.sqlstate = sqlstate


class CommitUnknown(StoreUnavailable):
    """Transient: the connection broke between COMMIT and its reply; the batch may or may not be stored.

    Writing it again is safe: the natural key makes stored readings duplicates and the redelivery key does the
    same for dead letters.
    """


class SpoolUnavailable(VoltdError):
    """Transient: the spool is full or its disk does not work; nothing was kept there, so nothing may be acked."""


class BrokerUnavailable(VoltdError):
    """Transient: the broker cannot be reached or refused the connection; unacked messages stay with it."""


class BrokerRefused(ConfigurationError):
    """Configuration: the broker refuses this client for good (credentials, protocol, authorisation)."""


class ClientIdTaken(ConfigurationError):
    """Configuration: another daemon connects with the same client id; the two would evict each other for ever."""


class ServersNotFound(VoltdError):
    """Runtime: no local Mosquitto and TimescaleDB could be had; the message names the ways to get them."""
