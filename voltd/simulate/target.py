"""The broker that the settings name, in the words of ``publish``: what ``cli`` hands to the simulator's commands."""

from __future__ import annotations

from voltd import config
from voltd.simulate.publish import MqttTarget


def from_settings(settings: config.Settings) -> MqttTarget:
    """Host, credentials, TLS and transport of the section ``mqtt``; never its client id, which is the daemon's."""
    mqtt = settings.mqtt
    return MqttTarget(
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
