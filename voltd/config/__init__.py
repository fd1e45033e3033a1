"""The settings, validated as a whole, so that no other module has to check them again.

``loading.load`` reads them from the TOML file and the environment. ``config/voltd.toml`` documents each one; a test
compares the two.
"""

from __future__ import annotations

import os
import pathlib
from typing import Annotated, Literal, Self

import psycopg
import pydantic
import pydantic_settings
from psycopg import conninfo
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from voltd.config.alerts import Alerts, ChannelSettings
from voltd.config.devices import DeviceFamily
from voltd.config.limits import Days, Limits, Timestamps, Zone
from voltd.config.pseudonyms import Pseudonyms
from voltd.config.section import Name, Section
from voltd.config.topics import Topics

__all__ = ["ChannelSettings", "DeviceFamily", "Limits", "Pseudonyms", "Section", "Settings", "Timestamps", "Topics"]


def _dsn(text: str) -> str:
    try:
        conninfo.conninfo_to_dict(text)
    except psycopg.Error as error:
        raise ValueError(f"not a libpq connection string or URL: {str(error).strip()}") from error
    return text


_Dsn = Annotated[str, pydantic.AfterValidator(_dsn)]


class Mqtt(Section):
    """How to reach the broker and how much it may send ahead of the acks."""

    host: Annotated[str, Field(min_length=1)] = "localhost"
    port: Annotated[int, Field(ge=1, le=65535)] = 1883
    transport: Literal["tcp", "websockets"] = "tcp"
    websocket_path: str = "/mqtt"
    username: str | None = None
    password: pydantic.SecretStr | None = None
    password_file: pathlib.Path | None = None
    tls: bool = False
    ca_file: pathlib.Path | None = None
    cert_file: pathlib.Path | None = None
    key_file: pathlib.Path | None = None
    client_id: str | None = None
    share_group: Name | None = None
    keepalive_s: Annotated[int, Field(ge=5, le=3600)] = 30
    session_expiry_s: Annotated[int, Field(ge=60, le=4294967295)] = 7 * 86400
    receive_maximum: Annotated[int, Field(ge=1, le=65535)] = 20_000
    reconnect_max_s: PositiveFloat = 30.0
    topics: Topics = Topics()

    @pydantic.model_validator(mode="after")
    def _tls_files_need_tls(self) -> Self:
        if not self.tls and (self.ca_file or self.cert_file or self.key_file):
            raise ValueError("ca_file, cert_file or key_file is set but tls is false: set tls = true")
        if bool(self.cert_file) != bool(self.key_file):
            raise ValueError("cert_file and key_file belong together: set both or neither")
        return self


class DatabaseSettings(Section):
    """How to reach TimescaleDB."""

    dsn: _Dsn = "host=localhost dbname=volt"
    migrate_dsn: _Dsn | None = None
    password: pydantic.SecretStr | None = None
    password_file: pathlib.Path | None = None
    connect_timeout_s: PositiveInt = 5
    statement_timeout_s: PositiveInt = 60
    retry_max_s: PositiveFloat = 10.0


class Batching(Section):
    """How much is written in one transaction.

    Without ``max_messages``: the whole window up to 1,000, beyond that half of it, at most 10,000.
    """

    max_messages: PositiveInt | None = None
    max_bytes: Annotated[int, Field(ge=65536, le=1 << 30)] = 8 << 20
    linger_ms: Annotated[float, Field(ge=0, le=1000)] = 2.0


class Live(Section):
    """The latest state of each vehicle on ``voltd/live/<fleet_id>/<vehicle_id>``."""

    enabled: bool = True
    max_per_second: PositiveInt = 500


class Retention(Section):
    """How long data is kept. Hourly and daily history is never deleted."""

    raw_days: Days = 90
    columnstore_after_days: Days = 7
    dead_letter_days: Days = 30
    alert_days: Days = 730

    @pydantic.model_validator(mode="after")
    def _columnstore_before_drop(self) -> Self:
        if self.columnstore_after_days >= self.raw_days:
            raise ValueError(
                f"columnstore_after_days = {self.columnstore_after_days} is not below raw_days = {self.raw_days}: "
                "readings would be dropped before they are compressed"
            )
        return self


class DeadLetters(Section):
    """When too many messages are malformed, so that voltd stops taking more. 1.0 and 0 switch a limit off."""

    max_ratio: Annotated[float, Field(gt=0, le=1)] = 0.8
    ratio_over: Annotated[int, Field(ge=100, le=1_000_000)] = 10_000
    max_run: Annotated[int, Field(ge=0)] = 20_000
    least_topics: PositiveInt = 10


class SpoolSettings(Section):
    """Where readings wait on this machine's disk while the database is away."""

    enabled: bool = True
    directory: pathlib.Path | None = None
    after_s: Annotated[float, Field(ge=0, le=3600)] = 5.0
    max_bytes: Annotated[int, Field(ge=1 << 20)] = 4 << 30
    min_free_bytes: Annotated[int, Field(ge=0)] = 1 << 30


class Efficiency(Section):
    """What a device can and cannot measure."""

    max_power_kw: Annotated[float, Field(gt=0, le=1e6)] = 400.0
    standby_kw: Annotated[float, Field(ge=0, le=1e3)] = 0.05


class Sessions(Section):
    """What a charging session is."""

    pause_s: Annotated[float, Field(ge=60, le=86400)] = 1800.0
    power_kw: Annotated[float, Field(gt=0, le=1e3)] = 0.1


class Log(Section):
    """What is logged and how; ``auto`` is readable lines on a terminal and JSON elsewhere."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"


class Settings(pydantic_settings.BaseSettings):
    """All settings of one daemon."""

    model_config = pydantic_settings.SettingsConfigDict(
        env_prefix="VOLTD_", env_nested_delimiter="__", extra="forbid", frozen=True, validate_default=True
    )

    instance: Name = "main"
    mqtt: Mqtt = Mqtt()
    database: DatabaseSettings = DatabaseSettings()
    batch: Batching = Batching()
    limits: Limits = Limits()
    timestamps: Timestamps = Timestamps()
    live: Live = Live()
    dead_letters: DeadLetters = DeadLetters()
    spool: SpoolSettings = SpoolSettings()
    alerts: Alerts = Alerts()
    retention: Retention = Retention()
    efficiency: Efficiency = Efficiency()
    sessions: Sessions = Sessions()
    log: Log = Log()
    pseudonyms: Pseudonyms = Pseudonyms()
    devices: dict[Name, DeviceFamily] = Field(default_factory=dict)
    devices_directory: pathlib.Path = pathlib.Path("/etc/voltd/devices.d")
    current_interval_s: Annotated[NonNegativeFloat, Field(ge=0.05, le=10)] = 1.0
    timezone: Zone = "UTC"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[pydantic_settings.BaseSettings],  # noqa: ARG003 the library's signature
        init_settings: pydantic_settings.PydanticBaseSettingsSource,
        env_settings: pydantic_settings.PydanticBaseSettingsSource,
        dotenv_settings: pydantic_settings.PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: pydantic_settings.PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[pydantic_settings.PydanticBaseSettingsSource, ...]:
        """The environment wins over the file (which ``loading.load`` passes as initial values)."""
        return env_settings, init_settings

    @pydantic.model_validator(mode="after")
    def _coherent(self) -> Self:
        if self.batch.max_messages is not None and self.batch.max_messages > self.mqtt.receive_maximum:
            raise ValueError(
                f"batch.max_messages = {self.batch.max_messages} is above mqtt.receive_maximum = "
                f"{self.mqtt.receive_maximum}: such a batch can never fill; "
                "lower max_messages or raise receive_maximum"
            )
        if self.limits.max_held_bytes < 2 * max(self.limits.max_payload_bytes, self.batch.max_bytes):
            raise ValueError(
                f"limits.max_held_bytes = {self.limits.max_held_bytes} is below twice the larger of "
                f"limits.max_payload_bytes and batch.max_bytes: one batch and the next one do not fit "
                "into memory; raise max_held_bytes"
            )
        for zoned in self.timestamps.zone:
            if not self.mqtt.topics.may_match(zoned):
                raise ValueError(
                    f"timestamps.zone names {zoned!r}, and no topic that voltd subscribes to can match it; "
                    "write it as in mqtt.topics"
                )
        if self.spool.enabled and self.spool.max_bytes < 2 * self.batch.max_bytes:
            raise ValueError(
                f"spool.max_bytes = {self.spool.max_bytes} is below twice batch.max_bytes = {self.batch.max_bytes}: "
                "the spool needs room for some batches; raise max_bytes, or set spool.enabled = false"
            )
        return self

    @property
    def client_id(self) -> str:
        """The MQTT client id: stable over restarts, because the session at the broker belongs to it."""
        return self.mqtt.client_id or f"voltd-{self.instance}"

    @property
    def max_batch_messages(self) -> int:
        """The most messages in one transaction."""
        window = self.mqtt.receive_maximum
        # While a large batch commits the broker refills the other half; a small one costs little beside its COMMIT.
        return self.batch.max_messages or max(min(window, 1000), min(window // 2, 10_000))

    @property
    def spool_file(self) -> pathlib.Path:
        """The spool of this instance: in systemd's StateDirectory, or where a user's state belongs (XDG)."""
        state = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
        home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
        folder = self.spool.directory or pathlib.Path(state or pathlib.Path(home).expanduser() / "voltd")
        return folder / f"spool-{self.instance}.sqlite3"

    @property
    def memory_file(self) -> pathlib.Path:
        """What this instance's device families know of their devices, beside the spool."""
        return self.spool_file.with_name(f"devices-{self.instance}.json")

    @property
    def max_age_days(self) -> int:
        """The oldest reading taken, in days; without a setting, the raw retention."""
        return self.limits.max_age_days or self.retention.raw_days

    @property
    def raw_retention_days(self) -> int:
        """How long raw readings are kept, in days: at least as long as the greatest age on arrival."""
        return max(self.retention.raw_days, self.max_age_days)
