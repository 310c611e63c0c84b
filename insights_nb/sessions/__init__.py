"""Events to sessions: frame in, frames out.

A session is one user's run through a SmartFlow. :func:`session_log` sorts and encodes a frame of events once; the
methods of the :class:`SessionLog` it returns are the tables. Every table holds whole sessions, so it can be computed
on any partition of the sessions and put together again.
"""

from .log import SessionLog, session_log
from .rules import OutcomeRules

__all__ = ["OutcomeRules", "SessionLog", "session_log"]
