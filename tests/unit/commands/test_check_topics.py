"""``voltd check`` says which topics have an empty level: it may be meant, and rarely is."""

from __future__ import annotations

from support import families as support
from voltd import config
from voltd.commands import check


def test_empty_levels_are_warned_of(capsys):
    odd = support.settings(tasmota={"topics": ["/tele/{id}"]}).model_copy(
        update={"mqtt": config.Mqtt(topics=config.Topics(vehicle=("/volt/vehicle/+",)))}
    )
    assert check._families(odd) == ["device families: tasmota (/tele/{id})"]
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("warn  device families: devices.tasmota: '/tele/{id}' begins with a slash")
    assert second.startswith("warn  mqtt.topics: '/volt/vehicle/+' begins with a slash")
    assert check._families(support.settings(tasmota={})) == ["device families: tasmota (tele/{id}, stat/{id})"]
    assert capsys.readouterr().out == ""
