"""Who of a fleet speaks as which device family, and that a fleet does the same whatever it speaks."""

import ast
import collections
import datetime as dt
import pathlib
import tomllib

import pytest

from voltd import errors
from voltd.models import DeviceType
from voltd.simulate import families
from voltd.simulate.families import catalogue
from voltd.simulate.fleet.fleet import Fleet, FleetOptions

START = dt.datetime(2026, 5, 1, 8, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


def _options(**changes):
    quiet = {"bad_share": 0.0, "duplicate_share": 0.0, "offline_share": 0.0}
    return FleetOptions(**{"vehicles": 30, "meters": 30, "seed": 7, "start": START, **quiet, **changes})


@pytest.mark.parametrize("noise", [{}, {"bad_share": 0.05, "duplicate_share": 0.05, "offline_share": 0.05}])
def test_the_same_fleet_whatever_it_speaks(noise):
    """Vehicles in voltd's own format send the same bytes, whether the meters speak as others do or not."""
    plain, mixed = Fleet(_options(**noise)), Fleet(_options(**noise, families=("tasmota",)))

    def of_vehicles(fleet):
        return [one for one in fleet.step(START + 5 * HOUR) if one.vehicle or "/vehicle/" in one.topic]

    assert of_vehicles(plain) == of_vehicles(mixed)


def test_who_speaks_what():
    """Shared out evenly among the families of a type, and each gets vehicles that charge, drive and are parked."""
    names = ("ovms", "tasmota", "tesla", catalogue.OWN)
    spoken = [catalogue.spoken(names, DeviceType.VEHICLE, index) for index in range(90)]
    found = collections.Counter((family.name if family else None, index % 3) for index, family in enumerate(spoken))
    assert found == {(name, activity): 10 for name in ("ovms", "tesla", None) for activity in range(3)}
    meters = collections.Counter(catalogue.spoken(names, DeviceType.METER, index) for index in range(90))
    assert meters == {catalogue.FAMILIES["tasmota"]: 45, None: 45}
    assert catalogue.spoken(("tasmota",), DeviceType.VEHICLE, 0) is None


def test_offline_devices_say_so():
    """A device that goes offline says so and sends nothing until it is back; nothing is sent later."""
    fleet = Fleet(_options(vehicles=0, families=("tasmota",), offline_share=0.2))
    published = [*fleet.step(START + 3 * HOUR), *fleet.finish()]
    gone = set()
    for one in published:
        device = one.topic.split("/")[1]
        if one.payload == b"Offline":
            gone.add(device)
        elif one.payload == b"Online":
            gone.discard(device)
        else:
            assert device not in gone
    assert sum(one.payload == b"Offline" for one in published) > 20


def test_settings():
    """What is printed is TOML with a section for each family, and whatever the family needs."""
    names = (*catalogue.FAMILIES, catalogue.OWN)
    found = tomllib.loads(catalogue.settings(names))["devices"]
    assert list(found) == list(catalogue.FAMILIES)
    assert found["evcc"] == {"topics": ["evcc/{site}"], "id": "{site}"}
    assert found["tasmota"] == {"topics": ["tele/{id}"], "zone": "Etc/GMT-1"}
    assert catalogue.undated(names) == ["ovms", "tesla", "teslamate", "shelly", "openevse", "evcc", "p1_dongle"]


@pytest.mark.parametrize("names", [("tasmoto",), ("ovms", "ovms")])
def test_impossible_families(names):
    """A name that nobody knows, or one that is there twice."""
    with pytest.raises(errors.UsageError) as refused:
        _options(families=names)
    assert refused.value.hint


def test_written_apart_from_what_decodes_them():
    """An error that both sides make would go unseen: nothing that decodes device families is used."""
    here = pathlib.Path(families.__file__).parent
    for path in [*here.glob("*.py"), *(here.parent / "fleet").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [one.name for one in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            module = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            assert not [name for name in names if f"{module}{name}".startswith("voltd.pipeline")], path
