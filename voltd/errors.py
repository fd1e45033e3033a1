"""The errors that voltd raises: one root; each class says what became of the data, and carries a hint.

Foreign errors (psycopg, paho, OS) are wrapped once, at the edge that talks to them.
"""


class VoltdError(Exception):
    """An error with an explanation.

    ``hint`` says what to do next; a command that does not catch the error ends with ``exit_code``.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigurationError(VoltdError):
    """Configuration: no message was taken from the broker. systemd does not restart the daemon after it."""

    exit_code = 78


class SchemaError(ConfigurationError):
    """Configuration: the database's schema is missing, behind, ahead or altered; nothing was written."""


class UsageError(VoltdError):
    """Usage: the command's arguments contradict each other; nothing was done."""

    exit_code = 2


class StoreUnavailable(VoltdError):
    """Transient: the database cannot take the batch now. Nothing of it was committed; keep it and try again."""


class StoreRejected(VoltdError):
    """Permanent: the database refuses some of these rows. Nothing of the batch was committed.

    The caller isolates the refused rows and writes the rest.
    """

    def __init__(self, message: str, *, sqlstate: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.sqlstate = sqlstate


class CommitUnknown(StoreUnavailable):
    """Transient: the connection broke between COMMIT and its reply; the batch may or may not be stored.

    Writing it again is safe: the natural key makes stored readings duplicates, and the redelivery key does the same for
    dead letters.
    """


class SpoolUnavailable(VoltdError):
    """Transient: the spool is full or its disk fails. Nothing was stored there, so nothing may be acked."""


class BrokerUnavailable(VoltdError):
    """Transient: the broker cannot be reached or refused the connection; unacked messages stay with it."""


class BrokerRefused(ConfigurationError):
    """Configuration: the broker refuses this client permanently (credentials, protocol, authorisation)."""


class ClientIdTaken(ConfigurationError):
    """Configuration: another client uses the same client id; the two would evict each other for ever."""


class ServersNotFound(VoltdError):
    """Runtime: no source has a local Mosquitto and TimescaleDB; the message names the ways to get them."""
