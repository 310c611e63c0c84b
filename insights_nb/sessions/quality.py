"""What a log can be trusted with: completeness of its sessions, what reading it met, and a wider window."""

import numpy as np
import pandas as pd

from .columns import PER_SECOND
from .endings import COMPLETENESS, VALUES
from .ledger import Ledger


def completeness_table(ledger: Ledger) -> pd.DataFrame:
    """Sessions by completeness; see :meth:`SessionLog.completeness`."""
    tally = np.bincount(ledger.endings.completeness, minlength=len(VALUES)).astype(np.int64)
    table = pd.DataFrame(
        {
            "sessions": tally,
            "share": tally / max(ledger.core.sessions, 1),
            "meaning": pd.array(list(COMPLETENESS.values()), dtype="str"),
        },
        index=pd.Index(VALUES, name="completeness", dtype="str"),
    )
    table.attrs["rule"] = completeness_rule(ledger)
    return table


def completeness_rule(ledger: Ledger) -> str:
    """How completeness was decided, in one sentence."""
    reading, unit = ledger.reading, ledger.core.unit
    window = reading.window
    if window.filtered:
        return "not decided: the query had filters, which may drop single events of a session"
    parts = [f"exit events read as one per {reading.exits}"]
    if window.known:
        parts.append(f"silent for {reading.margin / PER_SECOND[unit]:g} s before the window's end means over")
    else:
        parts.append(f"window unknown ({window.why})")
    parts.append("start times from the session ids" if reading.epoch else "start times not in the session ids")
    return "; ".join(parts)
