"""What device families know is there again after a restart; after a crash only what stays true."""

from __future__ import annotations

import json

import pytest

from support import families as support
from voltd.daemon import memory_file
from voltd.pipeline.decode import decoder
from voltd.pipeline.decode.devices import families

VALUES = '"meterValue":[{"timestamp":"2026-05-01T11:59:58Z","sampledValue":[{"value":5000}]}]'


class Run:
    """One run of a daemon: families, their decoder, and the file."""

    def __init__(self, path):
        given = support.settings(shelly={}, ocpp={})
        known = families.of(given, ask=lambda _topic, _payload: None)
        self.file = memory_file.MemoryFile(path, known)
        self.file.load()
        self.decoder = decoder.Decoder(given.mqtt.topics, given.limits, 90, given.timestamps, known)

    def decode(self, topic, payload):
        batch = self.decoder.decode([support.message(topic, payload)])
        return [(one.meter_id, one.ac_register_kwh) for one in batch.meters]


def notified(device, **status):
    body = {"method": "NotifyStatus", "params": {"ts": 1777636790, "switch:0": {"apower": 1.0, **status}}}
    return f"{device}/events/rpc", json.dumps(body)


def taught(path):
    """A run that hears what later messages leave out: of switches with and without returned energy, of a station."""
    run = Run(path)
    run.decode("a/status/switch:0", '{"aenergy":{"total":9000},"ret_aenergy":{"total":2000}}')
    run.decode(*notified("c", aenergy={"total": 9000}, ret_aenergy={"total": 1000}))
    run.decode("b/status/switch:0", '{"aenergy":{"total":9000}}')
    run.decode("ocpp/cp/CP", '{"connectorId":2,"transactionId":17}')
    return run


def asked(path):
    """What the next run makes of messages that leave it out."""
    run = Run(path)
    return [
        *run.decode(*notified("a", aenergy={"total": 9500})),
        *run.decode(*notified("b", aenergy={"total": 9500})),
        *run.decode(*notified("c", aenergy={"total": 9500})),
        *run.decode("ocpp/cp/CP", f'{{"transactionId":17,{VALUES}}}'),
    ]


def test_a_clean_stop(tmp_path):
    """Values are for the next run alone."""
    path = tmp_path / "new" / "devices.json"
    taught(path).file.save(stopped=True)
    assert asked(path) == [("a", 7.5), ("b", 9.5), ("c", 8.5), ("CP-2", 5.0)]
    assert asked(path) == [("a", None), ("b", 9.5), ("c", None), ("CP-2", 5.0)]
    assert path.stat().st_mode & 0o077 == 0


def test_a_crash(tmp_path):
    """The returned energy may have grown since the file was written."""
    path = tmp_path / "devices.json"
    taught(path).file.save()
    assert asked(path) == [("a", None), ("b", 9.5), ("c", None), ("CP-2", 5.0)]


def test_nothing_is_written_after_the_stop(tmp_path):
    run = taught(tmp_path / "devices.json")
    run.file.save(stopped=True)
    run.file.save()
    assert asked(tmp_path / "devices.json")[0] == ("a", 7.5)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"form":1}', b'{"form":1,"families":7}', b'{"form":2}'])
def test_a_file_that_is_none(tmp_path, content):
    """It is written anew."""
    path = tmp_path / "devices.json"
    path.write_bytes(content)
    assert asked(path)[0] == ("a", None)
    taught(path).file.save(stopped=True)
    assert asked(path)[0] == ("a", 7.5)


def test_a_folder_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    taught(tmp_path / "file" / "devices.json").file.save()
    assert "memory.unwritable" in capsys.readouterr().out
