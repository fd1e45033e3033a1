"""What the doctor found, for people."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from voltd import terminal
from voltd.doctor import survey
from voltd.models import DeviceType

_MOST = 5  # of a list that may be long


def lines(
    groups: Sequence[survey.Group], seconds: float, registered: Collection[tuple[DeviceType, str]] | None
) -> Iterator[str]:
    """The report.

    Args:
        groups: what was found.
        seconds: for how long was listened.
        registered: the devices of the registry; None: the database was not asked.
    """
    heard = sum(len(group.topics) + len(group.passed) for group in groups)
    if not heard:
        yield f"Nothing was heard in {seconds:g} s: neither a message nor a retained one."
        yield "Do devices publish to this broker, and may this login read their topics? Listen longer with --listen."
        return
    yield f"Heard {heard} topic{'s' * (heard != 1)} in {seconds:g} s."
    for group in groups:
        yield ""
        yield from _group(group, registered)


def _group(group: survey.Group, registered: Collection[tuple[DeviceType, str]] | None) -> Iterator[str]:
    yield f"{_some(group.patterns)}: {_kind(group)}"
    yield f"  {len(group.topics)} topics, {group.rate:.1f} messages/s, {group.retained} retained"
    if not group.kind:
        yield f"  such as {terminal.printable(group.topics[0])}"
        return
    yield from _devices(group, registered)
    if group.example is not None:
        yield f"  example: {terminal.printable(group.example[0])}"
        yield f"  becomes  {terminal.printable(survey.as_payload(group.example[1]))}"
    else:
        yield "  none of its messages makes a reading"
    for devices in group.units.values():
        device_id, words = next(iter(devices.items()))
        others = f" and {len(devices) - 1} more" if len(devices) > 1 else ""
        yield f"  unit in doubt, of {terminal.printable(device_id)}{others}: {words}"
    for silent in group.silent[:_MOST]:
        yield f"  {terminal.printable(silent)}: is the path right?"
    for why, count in group.refused.most_common(_MOST):
        yield f"  refused {count} times: {terminal.printable(why)}"
    if group.unknown:
        yield f"  fields that nothing reads: {_some(sorted(group.unknown))}"
    if group.passed:
        count = len(group.passed)
        verb = "topic of this family is" if count == 1 else "topics of this family are"
        yield f"  {count} {verb} passed over, such as {terminal.printable(min(group.passed))}"
    if group.trouble:
        yield f"  left out of the settings: {terminal.printable(group.trouble)}"


def _kind(group: survey.Group) -> str:
    if not group.kind:
        return "no device family fits"
    if group.configured:
        return f"{group.kind}, as in the settings"
    if group.kind == survey.OWN:
        return f"{group.kind}, on a topic that no filter of the settings matches"
    if group.enabled:
        return f"{group.kind}, on topics that the settings do not name"
    return f"{group.kind}, which the settings do not enable"


def _devices(group: survey.Group, registered: Collection[tuple[DeviceType, str]] | None) -> Iterator[str]:
    for device_type, ids in group.devices.items():
        yield f"  {len(ids)} {device_type}{'s' * (len(ids) != 1)}: {_some(sorted(ids))}"
        missing = sorted(one for one in ids if registered is not None and (device_type, one) not in registered)
        if missing:
            yield f"  not in the registry: {_some(missing)}"
    for device_type, device_id, other in group.same[:_MOST]:
        family = group.kind if group.kind != survey.OWN else other.kind
        yield (
            f"  {terminal.printable(device_id)}: the same {device_type} id as {_some(other.patterns)}: "
            f"give one of them an id, [devices.{family}] id = ..."
        )
    for device_type, device_id, (topic, another) in group.shared[:_MOST]:
        yield (
            f"  {terminal.printable(device_id)}: two devices have this {device_type} id, on "
            f"{terminal.printable(topic)} and {terminal.printable(another)}: their readings would be mixed"
        )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(terminal.printable(one) for one in names[:_MOST])
    return f"{shown} and {len(names) - _MOST} more" if len(names) > _MOST else shown
