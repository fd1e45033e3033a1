"""Device families where VINs become pseudonyms: their ids by pseudonym, and what cannot have a VIN. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from voltd import config, errors
from voltd.pipeline.consume import pseudonyms
from voltd.pipeline.decode.devices import catalogue


def refuse(settings: config.Settings, found: Sequence[catalogue.Enabled]) -> None:
    """Topics arrive with pseudonyms: a pattern with a VIN would match none of them.

    Raises:
        ConfigurationError: there is one.
    """
    own = settings.mqtt.topics
    written = [("mqtt.topics", text) for text in (*own.vehicle, *own.meter, *own.ingest)]
    written += [("timestamps.zone", text) for text in settings.timestamps.zone]
    for one in found:
        where = f"devices.{one.name}"
        written += [(f"{where}.topics", topic.text) for topic in one.topics]
        written += [(f"{where}.id", text) for text in (one.settings.id, one.description.id) if text]
        for message in one.description.messages:
            written += [(f"the description of {where}", text) for text in (message.topic, message.id) if text]
    for where, text in written:
        if pseudonyms.has_vin(text):
            raise errors.ConfigurationError(
                f"{where} has a VIN, and pseudonyms are on",
                hint="write + or {id} in its place, and name single vehicles in [devices.<family>.ids]",
            )


def renamed(one: catalogue.Enabled, known: pseudonyms.Pseudonyms) -> catalogue.Enabled:
    """The same, with the ids by which its devices come.

    Raises:
        ConfigurationError: a device would be called by its VIN.
    """
    shown = [name for name in one.settings.ids.values() if pseudonyms.is_vin(name)]
    if shown:
        raise errors.ConfigurationError(
            f"devices.{one.name}.ids gives a device a VIN as its id, and pseudonyms are on", hint="give it another name"
        )
    ids = {known.text(name): device_id for name, device_id in one.settings.ids.items()}
    return dataclasses.replace(one, settings=one.settings.model_copy(update={"ids": ids}))
