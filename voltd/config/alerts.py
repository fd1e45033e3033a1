"""The section ``[alerts]``: when rules are evaluated, and which channels are notified."""

from __future__ import annotations

import pathlib
from typing import Annotated, Literal, Self

import pydantic
from pydantic import Field, PositiveInt

from voltd.config import section


class ChannelSettings(section.Section):
    """A channel that is notified of alerts. An empty list means all."""

    kind: Literal["apprise", "alertmanager", "mqtt"] = "apprise"
    url: pydantic.SecretStr | None = None
    url_file: pathlib.Path | None = None
    min_severity: Literal["info", "warning", "critical"] = "warning"
    rules: tuple[str, ...] = ()
    fleets: tuple[str, ...] = ()
    resolved: bool = True
    group_s: Annotated[float, Field(ge=0, le=3600)] | None = None
    repeat_s: Annotated[float, Field(ge=0, le=365 * 86400, allow_inf_nan=False)] = 4 * 3600.0
    max_per_hour: PositiveInt = 60

    @pydantic.model_validator(mode="after")
    def _url_fits(self) -> Self:
        given = [one for one in (self.url, self.url_file) if one is not None]
        if self.kind == "mqtt" and given:
            raise ValueError("an mqtt channel has no url: alerts go to the broker of [mqtt]")
        if self.kind != "mqtt" and len(given) != 1:
            raise ValueError("set either url or url_file")
        return self


class Alerts(section.Section):
    """When rules are evaluated, and the channels. The rules are in rules.toml."""

    enabled: bool = True
    rules_file: pathlib.Path | None = None
    check_interval_s: Annotated[float, Field(ge=0.1, le=60)] = 1.0
    mqtt: bool = True
    channels: dict[section.Name, ChannelSettings] = Field(default_factory=dict)

    @pydantic.model_validator(mode="after")
    def _topics_stay(self) -> Self:
        if self.mqtt and "mqtt" in self.channels and self.channels["mqtt"].kind != "mqtt":
            raise ValueError(
                "channels.mqtt would take the place of the topics voltd/alerts/...: "
                "choose another name, or set mqtt = false"
            )
        return self

    @property
    def every_channel(self) -> dict[str, ChannelSettings]:
        """The configured channels, and the broker's topics as the channel ``mqtt``."""
        own = {"mqtt": ChannelSettings(kind="mqtt", min_severity="info")} if self.mqtt else {}
        return {**own, **self.channels}
