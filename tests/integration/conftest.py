"""What several tests of delivery need: a migrated database with deliverers on it, and a receiver."""

import contextlib

import pytest

import alert_rig
from voltd.database import migrate


@pytest.fixture
def delivery(fresh_database, broker):
    """Episodes put down as the check puts them down, and deliverers that tell them."""
    migrate.migrate(fresh_database, migrate.MigrateOptions(), report=lambda _line: None)
    made = alert_rig.Rig(fresh_database, broker)
    yield made
    made.close()


@pytest.fixture
def hook():
    """An HTTP receiver."""
    made = alert_rig.Webhook()
    yield made
    made.passes.set()
    with contextlib.suppress(OSError):
        made.down()
