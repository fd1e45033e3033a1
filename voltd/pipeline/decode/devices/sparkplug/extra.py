"""The way to Sparkplug's modules, which need a package that voltd installs as an extra: ``voltd[sparkplug]``."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable
from typing import TYPE_CHECKING

from voltd import config, errors
from voltd.pipeline.decode.devices import description, taken
from voltd.readings import DeviceType

if TYPE_CHECKING:
    from voltd.pipeline.decode.devices.sparkplug import nodes


def reader(
    special: description.Special,
    device_type: DeviceType,
    limits: config.Limits,
    _zone: zoneinfo.ZoneInfo | None = None,
) -> taken.Reader:
    """The reader of one kind of messages.

    Raises:
        ConfigurationError: the package is missing.
    """
    try:
        from voltd.pipeline.decode.devices.sparkplug import reader as module  # noqa: PLC0415 protobuf is an extra
    except ImportError as error:
        raise errors.ConfigurationError(
            f"Sparkplug B needs the package protobuf: {error}", hint="pip install 'voltd[sparkplug]'"
        ) from error
    assert isinstance(special, description.Sparkplug)  # noqa: S101 so ``Special.messages`` makes them
    return module.SparkplugReader(special, device_type, limits)


def nodes_of(ask: Callable[[str, bytes], None]) -> nodes.Nodes:
    """The edge nodes of one family, after its readers were made."""
    from voltd.pipeline.decode.devices.sparkplug import nodes  # noqa: PLC0415 protobuf is an extra

    return nodes.Nodes(ask)
