"""A mixed fleet beside the same fleet in voltd's own format, in small: ``make mixed`` has more devices and minutes."""

from mixed import compare, run, twins
from support import databases, harness

# One of each way to speak: values and documents, with times and without, retained, only what changed, with births.
_NAMES = ("ovms", "tesla", "tasmota", "shelly", "evcc", "p1_dongle", "dsmr_reader", "sparkplug", "voltd")


def test_every_figure_is_the_same(broker, migrated_database, tmp_path):
    """Field by field, by quarter hour and efficiency, through retained values, outages, resets and a kill -9."""
    address = (broker.host, broker.port)
    daemon = harness.Daemon(dsn=migrated_database, mqtt=address, name="mixed-small", log=tmp_path / "log")
    try:
        found, made = run.fleets(daemon, migrated_database, twins.enough_pairs(_NAMES), 2.0, 36.0, names=_NAMES)
    finally:
        daemon.close()
        harness.end_session(*address, "voltd-mixed-small")
    assert found.mistakes == 0, "\n".join(found.wrong)
    assert {twin.family or "voltd" for twin in made.twins} == set(_NAMES)
    for twin in made.twins:
        assert found.compared[twin.family or "voltd", "energy"], twin.mixed_id
    assert compare.BEHIND_BACKLOG not in found.left_out
    assert sum(found.compared.values()) > 30 * len(made.twins)
    sources = databases.ask(migrated_database, "SELECT time_source, count(*) > 50 FROM volt.meter_reading GROUP BY 1")
    assert dict(sources) == {None: True, "arrival": True}
