"""Documents with times of a P1 telegram, and with the bare nan of programs in C, by the thorough way."""

import datetime as dt

import pytest

from voltd import config, models
from voltd.models import Reason
from voltd.pipeline.decode import decoder as decode
from voltd.pipeline.decode.devices import families

NOW = dt.datetime(2023, 3, 10, 17, 0, 30, tzinfo=dt.UTC)
DESCRIPTION = """
title = "Mine"
topics = ["mine/{id}"]
device = "meter"

[[document]]
time = "at"
time_format = "p1"
fields = { power = { path = "p", unit = "kW" } }
"""


def decoded(directory, payload, time_format="p1"):
    (directory / "mine.toml").write_text(DESCRIPTION.replace('"p1"', f'"{time_format}"'))
    settings = config.Settings(devices={"mine": {}}, devices_directory=directory)
    reader = decode.Decoder(settings.mqtt.topics, settings.limits, 90, settings.timestamps, families.of(settings))
    return reader.decode([models.Message("mine/m", payload, 1, NOW, size=len(payload))])


@pytest.mark.parametrize(
    ("at", "recorded_at", "source"),
    [
        ('"230310180022W"', dt.datetime(2023, 3, 10, 17, 0, 22, tzinfo=dt.UTC), None),
        ('"000101010000W"', NOW, "arrival"),
        ("null", NOW, "arrival"),
    ],
)
def test_times(tmp_path, at, recorded_at, source):
    (reading,) = decoded(tmp_path, b'{"at":%b,"p":1}' % at.encode()).meters
    assert (reading.recorded_at, reading.time_source, reading.power_kw) == (recorded_at, source, 1.0)


@pytest.mark.parametrize("at", ["230310180022", "230310182912.000", '"2023-03-10T17:00:22Z"', '"-"'])
def test_other_times_are_refused(tmp_path, at):
    """A number without the letter must not be taken for milliseconds since 1970."""
    batch = decoded(tmp_path, b'{"at":%b,"p":1}' % at.encode())
    assert (batch.meters, [one.reason for one in batch.dead_letters]) == ([], [Reason.BAD_TIME])


def test_other_documents_have_no_such_times(tmp_path):
    batch = decoded(tmp_path, b'{"at":"230310180022W","p":1}', time_format="")
    assert [one.reason for one in batch.dead_letters] == [Reason.BAD_TIME]


def test_a_bare_nan_is_null(tmp_path):
    """Texts stay what they are where the rest is JSON."""
    batch = decoded(tmp_path, b'{"x":nan,"y":[nan, -nan],"at":"230310180022W","p":1}')
    assert [one.power_kw for one in batch.meters] == [1.0]
    assert decoded(tmp_path, b'{"x":" nan ","at":"230310180022W","p":2}').meters[0].power_kw == 2.0
