"""Which events the service knows, which fields each has, and the type of every field."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True)
class Schema:
    """The events and fields a service offers.

    Parameters
    ----------
    common
        Field name to type, for the fields every event has.
    events
        Event name to its own fields (field name to type).

    Notes
    -----
    A type is one of ``STRING``, ``INTEGER``, ``BOOLEAN``, ``TIMESTAMP``. A field name has one type in the
    whole schema, whichever events have it.
    """

    common: Mapping[str, str]
    events: Mapping[str, Mapping[str, str]]

    @property
    def types(self) -> dict[str, str]:
        """Return the type of every field, the common ones first."""
        types = dict(self.common)
        for own in self.events.values():
            types.update(own)
        return types

    def offers(self, event: str, field: str) -> bool:
        """Return whether a field may be asked of an event."""
        return field in self.common or field in self.events.get(event, {})

    def listing(self) -> dict[str, dict[str, list[str]]]:
        """Return the body of ``GET Q``: each event with its own fields, as the vendor's page prints it."""
        return {event: {"fields": list(own)} for event, own in self.events.items()}


def documented() -> Schema:
    """Return the documented schema, read from ``schema.json`` beside this module."""
    text = resources.files(__package__).joinpath("schema.json").read_text(encoding="utf-8")
    content = json.loads(text)
    return Schema(common=content["common"], events=content["events"])
