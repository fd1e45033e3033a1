"""Which broker to publish to, and how to reach it."""

from __future__ import annotations

import dataclasses
import os
from typing import Literal, Self

from voltd import config


@dataclasses.dataclass(frozen=True, slots=True)
class MqttTarget:
    """A broker to publish to. Files are PEM; ``tls`` without ``ca_file`` trusts the system's authorities.

    ``transport`` is tcp or websockets; ``websocket_path`` is for the latter only.
    """

    host: str = "localhost"
    port: int = 1883
    username: str | None = None
    password: str | None = dataclasses.field(default=None, repr=False)
    tls: bool = False
    ca_file: str | os.PathLike[str] | None = None
    cert_file: str | os.PathLike[str] | None = None
    key_file: str | os.PathLike[str] | None = None
    transport: Literal["tcp", "websockets"] = "tcp"
    websocket_path: str = "/mqtt"

    @classmethod
    def from_settings(cls, settings: config.Settings) -> Self:
        """The broker of the section ``[mqtt]``, without its client id: that is the daemon's."""
        mqtt = settings.mqtt
        return cls(
            host=mqtt.host,
            port=mqtt.port,
            username=mqtt.username,
            password=mqtt.password.get_secret_value() if mqtt.password else None,
            tls=mqtt.tls,
            ca_file=mqtt.ca_file,
            cert_file=mqtt.cert_file,
            key_file=mqtt.key_file,
            transport=mqtt.transport,
            websocket_path=mqtt.websocket_path,
        )
