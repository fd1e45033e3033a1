"""The section ``[alerts]`` of ``config``: when the rules are checked and where alerts are told."""

from __future__ import annotations

import pathlib
from typing import Annotated, Literal, Self

import pydantic
from pydantic import Field, PositiveInt

from voltd import config_section


class Channel(config_section.Section):
    """Where alerts are told. An empty list means every one."""

    kind: Literal["apprise", "alertmanager", "mqtt"] = "apprise"
    url: pydantic.SecretStr | None = None
    url_file: pathlib.Path | None = None
    min_severity: Literal["info", "warning", "critical"] = "warning"
    rules: tuple[str, ...] = ()
    fleets: tuple[str, ...] = ()
    resolved: bool = True
    group_s: Annotated[float, Field(ge=0, le=3600)] | None = None
    repeat_s: Annotated[float, Field(ge=0)] = 4 * 3600.0
    max_per_hour: PositiveInt = 60

    @pydantic.model_validator(mode="after")
    def _url_fits(self) -> Self:
        given = [one for one in (self.url, self.url_file) if one is not None]
        if self.kind == "mqtt" and given:
            raise ValueError("an mqtt channel has no url: alerts go to the broker of [mqtt]")
        if self.kind != "mqtt" and len(given) != 1:
            raise ValueError("set either url or url_file")
        return self


class Alerts(config_section.Section):
    """When the rules are checked and who is told. The rules themselves are in rules.toml."""

    enabled: bool = True
    rules_file: pathlib.Path | None = None
    check_interval_s: Annotated[float, Field(ge=0.1, le=60)] = 1.0
    mqtt: bool = True
    channels: dict[config_section.Name, Channel] = Field(default_factory=dict)

    @property
    def every_channel(self) -> dict[str, Channel]:
        """The configured channels, and the broker's topics under the name ``mqtt``."""
        own = {"mqtt": Channel(kind="mqtt", min_severity="info")} if self.mqtt else {}
        return {**own, **self.channels}
