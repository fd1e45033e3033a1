"""What several tests of delivery and of the check need: migrated databases, deliverers, a receiver, daemons."""

import contextlib

import pytest
from psycopg import conninfo

from support import alerts, proxies
from support.rules import daemons


@pytest.fixture
def delivery(migrated_database, broker):
    """Episodes recorded as the evaluation cycle records them, and deliverers that notify of them."""
    made = alerts.Rig(migrated_database, broker)
    yield made
    made.close()


@pytest.fixture
def hook():
    """An HTTP receiver."""
    made = alerts.Webhook()
    yield made
    made.passes.set()
    with contextlib.suppress(OSError):
        made.down()


@pytest.fixture(scope="module")
def migrated(module_database):
    return module_database


@pytest.fixture
def world(migrated):
    """Daemons that check the rules, on the module's database."""
    made = daemons.World(migrated)
    yield made
    made.close()


@pytest.fixture
def proxy(dsn):
    """A proxy before the database of the test's own ``dsn``."""
    info = conninfo.conninfo_to_dict(dsn)
    made = proxies.Proxy(str(info["host"]).split(",")[0], int(info["port"]))
    yield made
    made.close()
