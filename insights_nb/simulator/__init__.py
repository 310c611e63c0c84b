"""A local Insights service: the documented HTTP API and its SFTP server on 127.0.0.1, with invented events.

It imports nothing else of insights_nb: client and service are two readings of the same API page, and a
test can hold one against the other. Start it with `Simulator`; ``settings`` says how to reach it.

Rooms: ``service`` holds the life cycle; ``web`` and ``api`` speak HTTP, ``answers`` the documented bodies,
``rules`` judge a query, ``translate`` puts it into SQL, ``store`` answers it, ``shards`` and ``reports`` make
it files, ``sftp`` and ``files`` show them; ``flows``, ``callers`` and ``records`` invent events, ``truths`` tells
what was planted, ``foreign`` reads other data, ``faults`` spoils all of it on demand.
"""

from .api import Call
from .cli import main
from .faults import Fault, FaultPlan
from .files import Visit
from .service import Simulator
from .truths import FailingRegion, Place, SlowAction, Truths

__all__ = [
    "Call",
    "FailingRegion",
    "Fault",
    "FaultPlan",
    "Place",
    "Simulator",
    "SlowAction",
    "Truths",
    "Visit",
    "main",
]
