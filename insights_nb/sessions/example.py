"""A log small enough to read: the one the documentation's examples are about.

Four sessions of one flow between 9 and 10 o'clock. The first presses 1 and ends well; the second is silent, is asked
again, presses 1 and ends well; the third presses 2 and hangs up; the fourth is still being transferred when the window
ends.

======  ========  =====================  ==========  =======  =====  ===================  ===========
caller  time      event                  action      trigger  input  exit reason          error
======  ========  =====================  ==========  =======  =====  ===================  ===========
A       09:10:00  CallEvent              INBOUND_1   true
A       09:10:02  ApplicationExitEvent   INBOUND_1   true            Normal
A       09:10:05  DtmfEvent              MENU_1               1
A       09:10:06  ApplicationExitEvent   MENU_1                      Normal
A       09:10:07  ApplicationExitEvent   END_CALL                    Call Successful
B       09:20:00  CallEvent              INBOUND_1   true
B       09:20:02  ApplicationExitEvent   INBOUND_1   true            Normal
B       09:20:10  DtmfEvent              MENU_1                                           No Input
B       09:20:11  ApplicationExitEvent   MENU_1                      Timeout
B       09:20:15  DtmfEvent              MENU_1               1
B       09:20:16  ApplicationExitEvent   MENU_1                      Normal
B       09:20:17  ApplicationExitEvent   END_CALL                    Call Successful
C       09:30:00  CallEvent              INBOUND_1   true
C       09:30:02  ApplicationExitEvent   INBOUND_1   true            Normal
C       09:30:06  DtmfEvent              MENU_1               2
C       09:30:09  ApplicationExitEvent   MENU_1                      User Abandon
D       09:59:40  CallEvent              INBOUND_1   true
D       09:59:42  ApplicationExitEvent   INBOUND_1   true            Normal
D       09:59:50  ApplicationExitEvent   MENU_1                      Normal
D       09:59:55  CallEvent              TRANSFER_1
======  ========  =====================  ==========  =======  =====  ===================  ===========

A, B and D call from California (``US:US-CA``), C from Texas (``US:US-TX``). StartTime and EndTime of an exit are the
time of the exit before it in its session (of the first event for the first), and its own.

``DEMO_RULES`` are an example of outcome rules: they name every way a session of ``insights.demo()`` can end.
"""

import re

import pandas as pd

from .log import session_log
from .rules import OutcomeRules


def tiny_log() -> pd.DataFrame:
    """The events in the table above, as ``query()`` would give them for the window from 9 to 10.

    Returns
    -------
    DataFrame
        20 rows; the columns a session log reads, of the dtypes of ``query()``.
    """
    table = _table()
    at = pd.to_datetime("2026-03-01T" + table["time"] + "Z").astype("datetime64[us, UTC]")
    caller = table["caller"]
    begun = at.groupby(caller).transform("min")
    leaves = table["event"] == "ApplicationExitEvent"
    left = at.where(leaves).groupby(caller).ffill().groupby(caller).shift().fillna(begun)
    epoch = (begun.astype("int64") // 1_000_000).astype("str")
    frame = pd.DataFrame(
        {
            "EventName": table["event"],
            "TimeStamp": at,
            "SessionId": epoch + "-1022008-SR-000-0000000000000-0000000" + caller,
            "FlowId": pd.Series("64a1f0c2d9b37e5518c04a1e", index=table.index, dtype="str"),
            "ActionId": table["action"],
            "IsTriggerAction": (table["trigger"] == "true").astype("boolean"),
            "ApplicationRegion": ("US:US-" + caller.map({"C": "TX"}).fillna("CA")).astype("str"),
            "StartTime": left.where(leaves),
            "EndTime": at.where(leaves),
            "ExitReason": table["reason"],
            "DtmfInput": table["input"],
            "ErrorReason": table["error"],
        }
    )
    names = ("ApplicationExitEvent", "DtmfEvent", "CallEvent", "MsgEvent")
    window = ["2026-03-01T09:00:00Z", "2026-03-01T10:00:00Z"]
    query = {
        "timestamp": {"$gte": window[0], "$lte": window[1]},
        "data": {name: {"fields": list(frame.columns)} for name in names},
    }
    frame.attrs["insights"] = {"query": query, "window": window, "rows": len(frame)}
    return frame


def _table() -> pd.DataFrame:
    """The table in this module's text: what is read is what is printed."""
    lines = (__doc__ or "").splitlines()
    rules = [number for number, line in enumerate(lines) if line.startswith("======")]
    ruler = lines[rules[0]]
    edges = [place for place in range(len(ruler)) if ruler[place] == "=" and (not place or ruler[place - 1] == " ")]
    rows = [
        [line[low:high].strip() or None for low, high in zip(edges, [*edges[1:], None], strict=True)]
        for line in lines[rules[1] + 1 : rules[2]]
    ]
    names = ["caller", "time", "event", "action", "trigger", "input", "reason", "error"]
    return pd.DataFrame(rows, columns=names).astype("str")


#: The log of these events, with rules for what its exit reasons mean.
log = session_log(tiny_log(), rules=OutcomeRules({"completed": "Call Successful", "abandoned": "User Abandon"}))

#: What the invented words of ``insights.demo()`` mean; those of your flows are others. The first name that fits wins:
#: who hangs up has ``abandoned``, wherever that was; a way out that put nobody through is an ``error``; what ended in
#: good order is ``completed``. ``transferred`` is not among them: no invented flow ends with its transfer, so an ending
#: cannot tell, and without that name ``containment_rate`` is NaN rather than wrong. A failed transfer shows in
#: ``log.exits(level="event")``: the call goes on after it and ends in good order.
DEMO_RULES = OutcomeRules(
    {
        "abandoned": "User Abandon",
        "error": ["Timeout", "Busy", "Not Found", "Forbidden", "Other", re.compile("Service Unavailable")],
        "completed": ["Call Successful", "Normal"],
    }
)
