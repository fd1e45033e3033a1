"""The decoder refuses each malformed message for the reason that its kind names, and accepts good readings."""

import datetime as dt
import random

import pytest

from voltd import config, models
from voltd.models import Reason
from voltd.pipeline.decode import decoder as decode
from voltd.simulate.fleet import malformed, wire
from voltd.simulate.fleet.fleet import Fleet, FleetOptions

NOW = dt.datetime(2026, 5, 1, 8, tzinfo=dt.UTC)
TYPES = (models.DeviceType.VEHICLE, models.DeviceType.METER)


@pytest.fixture(scope="module")
def decoder():
    return decode.Decoder(config.Topics(), config.Limits(), 90)


def _device(device_type, *, envelope):
    habits = wire.draw_habits(random.Random(3), register_share=0.0, envelope_share=float(envelope))
    return wire.SimulatedDevice("D-1", device_type, habits)


def _good(device):
    head = (
        "".join(('{"type":"%s","payload":' % ("VEHICLE" if device.is_vehicle else "METER"),))
        if device.habits.envelope
        else ""
    )
    text = f'{{"{device.id_key}":"D-1","timestamp":"{NOW.isoformat()}","{device.measure}":1.5}}'
    return f"{head}{text}" + ("}" if head else "")


def _decode(decoder, publication):
    return decoder.decode(
        [models.Message(publication.topic, publication.payload, 1, NOW, size=len(publication.payload))]
    )


@pytest.mark.parametrize("envelope", [False, True])
@pytest.mark.parametrize("device_type", TYPES)
@pytest.mark.parametrize("kind", malformed.KINDS, ids=lambda kind: kind.name)
def test_each_kind(decoder, kind, device_type, envelope):
    """One bad reading is one dead letter with a fitting reason; good ones beside it are stored."""
    device = _device(device_type, envelope=envelope)
    publication = kind.make(device, NOW.timestamp(), _good(device))
    batch = _decode(decoder, publication)
    assert [dead.reason for dead in batch.dead_letters] in [[reason] for reason in kind.reasons]
    assert publication.bad == 1
    assert (publication.vehicle, publication.meter) == (len(batch.vehicles), len(batch.meters))


def test_every_reason_occurs():
    """All reasons that one message of the own format on a subscribed topic can have are caused."""
    reasons = frozenset().union(*(kind.reasons for kind in malformed.KINDS))
    assert set(models.Reason) - reasons == {
        Reason.UNKNOWN_TOPIC, Reason.REJECTED, Reason.CONFLICT, Reason.NO_BIRTH, Reason.NOT_PROTOBUF,
    }  # fmt: skip


def test_every_kind_is_picked():
    """No kind has a weight of nothing."""
    rng = random.Random(1)
    assert {malformed.pick(rng).name for _ in range(5000)} == {kind.name for kind in malformed.KINDS}


def test_a_noisy_fleet_through_the_decoder(decoder):
    """Readings stored and dead-lettered are those that the publications claim, message by message."""
    start = NOW - dt.timedelta(hours=1)
    fleet = Fleet(FleetOptions(50, 50, 5, start, bad_share=0.2, duplicate_share=0.05, offline_share=0.1))
    bad = 0
    for publication in [*fleet.step(NOW), *fleet.finish()]:
        batch = _decode(decoder, publication)
        assert (publication.vehicle, publication.meter, publication.bad) == (
            len(batch.vehicles), len(batch.meters), len(batch.dead_letters),
        ), publication.payload[:300]  # fmt: skip
        assert batch.unknown_fields == 0 or publication.bad
        bad += publication.bad
    assert bad > 800
