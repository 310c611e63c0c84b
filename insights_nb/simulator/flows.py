"""Three invented flows: what callers can meet, how long it takes, and where it leads.

Everything here is invented: names, ids, and the literal values of Path, ExitReason, DtmfSource and
ErrorReason, which the vendor does not publish. Paths and reasons follow the labels of the vendor's screens.
"""

from dataclasses import dataclass

NORMAL = "Normal"
ABANDON = "User Abandon"
UNAVAILABLE = "Service Unavailable – 503"
NO_INPUT = "No Input"
NO_MATCH = "No Match"
ACCOUNT = "<account>"
"""Stands for the caller's own account number where an exit says what was pressed."""


@dataclass(frozen=True)
class Exit:
    """One way out of an action.

    Parameters
    ----------
    share
        How often it is taken, relative to the action's other exits.
    path
        The exit port's label, or None where the caller has hung up.
    to
        The next action (``ACTION`` of the same flow or ``flow/ACTION``), or None: the session ends.
    reason
        The ExitReason.
    pressed
        The keys pressed, ``ACCOUNT``, or None.
    error
        The ErrorReason of a prompt.
    """

    share: float
    path: str | None
    to: str | None
    reason: str = NORMAL
    pressed: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Action:
    """One block of a flow.

    Parameters
    ----------
    action_id, action_name
        As in the records.
    seconds
        The median time spent in it.
    exits
        The ways out.
    record
        The event it records besides its exit, or None.
    trigger
        Whether it starts a session, or a flow inside one.
    """

    action_id: str
    action_name: str
    seconds: float
    exits: tuple[Exit, ...]
    record: str | None = None
    trigger: bool = False


@dataclass(frozen=True)
class Flow:
    """One flow: its key here, id, name, share of the sessions, medium's event, first and further actions."""

    key: str
    flow_id: str
    name: str
    share: float
    medium: str
    start: str
    actions: tuple[Action, ...]


def _hang_up(share: float) -> Exit:
    return Exit(share, None, None, ABANDON)


def _transfer(action_id: str, seconds: float, to: str) -> Action:
    exits = (
        Exit(76, "On Answer", to, "Call Successful"),
        Exit(9, "No Answer", "PLAY_3", "Timeout"),
        Exit(6, "On User Busy", "PLAY_3", "Busy"),
        Exit(2, "On Voice Message", "PLAY_3"),
        Exit(1, "No Answer", "END_CALL", UNAVAILABLE),
        _hang_up(6),
    )
    return Action(action_id, "Transfer", seconds, exits, "CallEvent")


def _end(action_id: str, action_name: str, reason: str) -> Action:
    return Action(action_id, action_name, 0.6, (Exit(1, None, None, reason),))


PHARMACY = Flow(
    "pharmacy",
    "64a1f0c2d9b37e5518c04a1e",
    'Pharmacy line, "Löwen" branches',
    0.62,
    "CallEvent",
    "INBOUND_CALL_1",
    (
        Action("INBOUND_CALL_1", "InboundCall", 0.8, (Exit(1, "Next", "PLAY_1"),), "CallEvent", trigger=True),
        Action("PLAY_1", "PlayPrompt", 6, (Exit(96, "Next", "MENU_1"), _hang_up(4))),
        Action(
            "MENU_1",
            "MenuTree",
            7,
            (
                Exit(44, "Key 1", "COLLECT_DTMF_1", pressed="1"),
                Exit(27, "Key 2", "MENU_2", pressed="2"),
                Exit(14, "Key 3", "PLAY_2", pressed="3"),
                Exit(4, "Invalid", "MENU_1", pressed="7", error=NO_MATCH),
                Exit(2, "Max Attempts", "PLAY_3", "Timeout", error=NO_INPUT),
                _hang_up(9),
            ),
            "DtmfEvent",
        ),
        Action(
            "MENU_2",
            "MenuTree",
            5,
            (
                Exit(50, "Key 9", "MENU_2", pressed="9"),
                Exit(30, "Key 1", "TRANSFER_2", pressed="1"),
                Exit(4, "Max Attempts", "PLAY_3", "Timeout", error=NO_INPUT),
                _hang_up(16),
            ),
            "DtmfEvent",
        ),
        Action(
            "COLLECT_DTMF_1",
            "CollectDTMF",
            11,
            (
                Exit(84, "On Input", "API_REQUEST_1", pressed=ACCOUNT),
                Exit(5, "Invalid", "COLLECT_DTMF_1", pressed="00", error=NO_MATCH),
                Exit(5, "On Timeout", "COLLECT_DTMF_1", "Timeout", error=NO_INPUT),
                _hang_up(6),
            ),
            "DtmfEvent",
        ),
        Action(
            "API_REQUEST_1",
            "APIRequest",
            14,
            (
                Exit(88, "On Success", "CONDITION_1"),
                Exit(5, "On Failure", "TRANSFER_1", "Timeout"),
                _hang_up(7),
            ),
        ),
        Action("CONDITION_1", "Condition", 0.5, (Exit(78, "True", "SMS_1"), Exit(22, "False", "TRANSFER_1"))),
        _transfer("TRANSFER_1", 48, "END_CALL"),
        _transfer("TRANSFER_2", 75, "SMS_1"),
        Action(
            "SMS_1",
            "SMS",
            1.2,
            (
                Exit(62, "On Success", "PLAY_3"),
                Exit(34, "On Success", "JUMP_TO_1"),
                Exit(4, "On Failure to Send", "PLAY_3", "Other"),
            ),
            "MsgEvent",
        ),
        Action("PLAY_2", "PlayPrompt", 15, (Exit(70, "Next", "MENU_1"), _hang_up(30))),
        Action("PLAY_3", "PlayPrompt", 4, (Exit(1, "Next", "END_CALL"),)),
        Action("JUMP_TO_1", "JumpTo", 0.4, (Exit(1, "Next", "messaging/JUMP_FROM_1"),)),
        _end("END_CALL", "EndCall", "Call Successful"),
    ),
)

REMINDER = Flow(
    "reminder",
    "64b3907e51acd2f0883e6b27",
    "Reminder calls (São Paulo & Zürich)",
    0.26,
    "CallEvent",
    "INBOUND_API_1",
    (
        Action("INBOUND_API_1", "InboundAPI", 0.5, (Exit(1, "Next", "DIAL_1"),), trigger=True),
        Action(
            "DIAL_1",
            "Dial",
            14,
            (
                Exit(58, "On Answer", "MENU_1", "Call Successful"),
                Exit(20, "No Answer", "SMS_1", "Timeout"),
                Exit(8, "On User Busy", "END_CALL", "Busy"),
                Exit(12, "On Voice Message", "PLAY_1"),
                Exit(1, "No Answer", "END_CALL", "Not Found"),
                Exit(1, "No Answer", "END_CALL", "Forbidden"),
            ),
            "CallEvent",
        ),
        Action(
            "MENU_1",
            "MenuTree",
            6,
            (
                Exit(70, "Key 1", "SWITCH_1", pressed="1"),
                Exit(12, "Key 2", "SWITCH_1", pressed="2"),
                Exit(5, "Invalid", "MENU_1", pressed="*", error=NO_MATCH),
                Exit(3, "Max Attempts", "PLAY_1", "Timeout", error=NO_INPUT),
                _hang_up(10),
            ),
            "DtmfEvent",
        ),
        Action("SWITCH_1", "Switch", 0.4, (Exit(80, "Confirmed", "SMS_1"), Exit(20, "Default", "PLAY_1"))),
        Action("PLAY_1", "PlayPrompt", 8, (Exit(90, "Next", "END_CALL"), _hang_up(10))),
        Action(
            "SMS_1",
            "SMS",
            1.1,
            (Exit(95, "On Success", "END_CALL"), Exit(5, "On Failure to Send", "END_CALL", "Other")),
            "MsgEvent",
        ),
        _end("END_CALL", "EndCall", "Call Successful"),
    ),
)

MESSAGING = Flow(
    "messaging",
    "64c8d2a90f1b4e7763a95d30",
    "Text follow-up – réponses",
    0.12,
    "MsgEvent",
    "INBOUND_TEXT_1",
    (
        Action("INBOUND_TEXT_1", "InboundText", 0.5, (Exit(1, "Next", "SMS_1"),), "MsgEvent", trigger=True),
        Action("JUMP_FROM_1", "JumpFrom", 0.5, (Exit(1, "Next", "SMS_1"),), trigger=True),
        Action(
            "SMS_1",
            "SMS",
            1.3,
            (Exit(96, "On Success", "WAIT_REPLY_1"), Exit(4, "On Failure to Send", "END_CHAT", "Other")),
            "MsgEvent",
        ),
        Action(
            "WAIT_REPLY_1",
            "WaitForReply",
            190,
            (Exit(70, "On Reply", "SWITCH_1"), Exit(30, "On Timeout", "END_CHAT", "Timeout")),
            "MsgEvent",
        ),
        Action(
            "SWITCH_1",
            "Switch",
            0.4,
            (
                Exit(60, "Done", "SMS_2"),
                Exit(25, "Question", "SMS_1"),
                Exit(15, "Default", "SMS_2"),
            ),
        ),
        Action(
            "SMS_2",
            "SMS",
            1.2,
            (Exit(97, "On Success", "END_CHAT"), Exit(3, "On Failure to Send", "END_CHAT", "Other")),
            "MsgEvent",
        ),
        _end("END_CHAT", "EndChat", NORMAL),
    ),
)

FLOWS = (PHARMACY, REMINDER, MESSAGING)
LOOPING_MENU = ("pharmacy", "MENU_2")
SLOW_ACTION = ("pharmacy", "API_REQUEST_1")

REGIONS = {
    "US:US-CA": 0.24,
    "US:US-TX": 0.17,
    "US:US-NY": 0.16,
    "US:US-WA": 0.09,
    "US:US-FL": 0.08,
    "US:US": 0.08,
    "UNK": 0.08,
    "ES:EU": 0.06,
    "DE:EU": 0.04,
}
FAILING_REGION = "US:US-TX"

CALLERS = (
    "Müller, Zoë",
    'Nguyễn "Ben" Bình',
    "O'Neil, Ana, Jr.",
    'Ødegård, "Sunny" Åse',
    "García Márquez, Íñigo",
    "Kowalczyk, Łucja",
    "Tanaka 田中, Yuki",
    "Papadopoulos, Ελένη",
    'Smith, John "JJ"',
    "Šimková, Žofie",
    "Al-Masri, ليلى",
    "Brown, Pat",
)
"""Invented callers, one of whom rides along as Passthrough in a third of the sessions."""
