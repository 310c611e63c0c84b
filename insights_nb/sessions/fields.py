"""Which column of the frame plays which part, and what to say when one is absent."""

from collections.abc import Hashable
from dataclasses import dataclass

import pandas as pd

from insights_nb.errors import FrameError

EXIT_EVENT = "ApplicationExitEvent"
DTMF_EVENT = "DtmfEvent"

#: Own fields of the two events whose fields are documented (API page, data dictionary). Every other field is common.
OWN_FIELDS = {
    EXIT_EVENT: ("StartTime", "EndTime", "Path", "ExitReason"),
    DTMF_EVENT: ("DtmfInput", "DtmfSource", "ErrorReason"),
}


@dataclass(frozen=True)
class Fields:
    """The columns to read, by the part they play.

    The first six can be renamed by arguments of ``session_log``; the others carry the API's own names.
    """

    session: Hashable = "SessionId"
    time: Hashable = "TimeStamp"
    action: Hashable = "ActionId"
    flow: Hashable = "FlowId"
    event: Hashable = "EventName"
    trigger: Hashable = "IsTriggerAction"
    action_name: Hashable = "ActionName"
    flow_name: Hashable = "FlowName"
    transaction: Hashable = "TransactionId"
    region: Hashable = "ApplicationRegion"
    started: Hashable = "StartTime"
    ended: Hashable = "EndTime"
    path: Hashable = "Path"
    reason: Hashable = "ExitReason"
    keys: Hashable = "DtmfInput"
    error: Hashable = "ErrorReason"

    def api_name(self, part: str) -> str:
        """The API's name of the field that plays ``part``, whatever the frame calls it."""
        return str(getattr(Fields(), part))


def column(frame: pd.DataFrame, fields: Fields, part: str) -> pd.Series | None:
    """The column that plays ``part``, or None when the frame has none."""
    name = getattr(fields, part)
    return frame[name] if name in frame.columns else None


def missing_field(fields: Fields, part: str, wanted_by: str) -> FrameError:
    """The error for a column that is absent: names the API's field and what to add to the query.

    Parameters
    ----------
    fields : Fields
        The columns in use.
    part : str
        Attribute of ``fields`` whose column is absent.
    wanted_by : str
        What cannot be answered without it, as the user wrote it.

    Returns
    -------
    FrameError
        To be raised by the caller.
    """
    name, given = fields.api_name(part), str(getattr(fields, part))
    event = next((event for event, own in OWN_FIELDS.items() if name in own), None)
    entry = f'"data": {{"{event or "<every event>"}": {{"fields": [..., "{name}"]}}}}'
    what = f"{wanted_by} needs {name}, and the frame has no column {given!r}."
    hint = f"Ask for it in the query ({entry})"
    if part in ("session", "time", "action", "flow", "event", "trigger"):
        hint += f", or name the column that holds it: session_log(df, {part}=...)"
    return FrameError(what, hint + ".")
