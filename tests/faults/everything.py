"""Every fault, registered; a file with new ones is named here."""

from faults import (
    broker,  # noqa: F401 registers its faults
    clock,  # noqa: F401 likewise
    database,  # noqa: F401 likewise
    outage,  # noqa: F401 likewise
    registry,
    split,  # noqa: F401 likewise
)

REGISTRY = registry.REGISTRY
