"""Every body the service sends, verbatim from the vendor's page where the page has one.

Pure functions from facts to JSON values. Shapes the page does not print are our invention and marked [U].
"""

from collections.abc import Mapping, Sequence

Body = dict[str, object] | list[object]

NOT_FINISHED = "Process has not finish yet, please verify the status of your request"
"""The vendor's sentence, misspelling included, for a location asked for too early."""

NO_ROWS = ("Query range to wide", "All data fields have empty values, advise adding core fields")
"""The vendor's messages for a report that found nothing."""


def token(value: str) -> Body:
    """Return the answer to a good login."""
    return {"token": value}


def unauthorized() -> Body:
    """Return the answer to a bad login, and to any call without a valid token."""
    return {"code": 401, "error": "Unauthorized"}


def accepted(guid: str) -> Body:
    """Return the answer to an accepted query."""
    return {"id": guid}


def status(word: str, guid: str, messages: Sequence[str] = ()) -> Body:
    """Return the answer to a status call; ``messages`` appears only where there are some."""
    body: dict[str, object] = {"status": word, "guid": guid}
    if messages:
        body["messages"] = list(messages)
    return body


def not_finished(guid: str) -> Body:
    """Return the answer to a location call while there is no location."""
    return {"status": NOT_FINISHED, "guid": guid}


def finished(guid: str, paths: Sequence[str]) -> Body:
    """Return the location sentence, with the paths as a Python 2 list of unicode strings prints itself."""
    listed = ", ".join(f"u'{path}'" for path in paths)
    return {"status": f"Process finished. Download: [{listed}]", "guid": guid}


def unknown_report() -> Body:
    """Return the list that comes with status 500 for an id nobody knows."""
    text = "could not get QueryRequest object: QueryRequest matching query does not exist."
    return [{"message": text, "code": 500}]


def too_many_queries(slots: int) -> Body:
    """Return the answer when every slot is taken."""
    return {"code": 429, "message": f"max concurrent queries per user ({slots}) reached"}


def bad_dates(values: Sequence[str]) -> Body:
    """Return the refusal of dates in another form than the documented one."""
    text = (
        f"Invalid date filters [{', '.join(values)}]. They must be in ISO8601 format. Example: 'YYYY-MM-DDTHH:MM:SSZ'"
    )
    return {"code": 400, "message": {"Date_Filters": {"message": text, "code": "422-6"}}}


def bad_operators(operators: Sequence[str]) -> Body:
    """Return the refusal of unknown operators."""
    text = f"Invalid operators [{', '.join(operators)}], try to use any of these ($gte, $lte, $gt, $lt, $ne, $eq)."
    return {"code": 400, "message": {"Operators": text}}


def bad_event(name: str) -> Body:
    """Return the refusal of an unknown event name."""
    return {"code": 400, "message": f"{name} is not a valid schema name."}


def bad_field(name: str) -> Body:
    """Return the refusal of a field the event does not have."""
    return {"code": 400, "message": f"{name} is not a valid field."}


def bad_request(text: str) -> Body:
    """Return a refusal for which the vendor shows no body [U]; the shape follows ``bad_event``."""
    return {"code": 400, "message": text}


def not_found() -> Body:
    """Return the answer to a path that is no call of this API [U]."""
    return {"code": 404, "error": "Not Found"}


def wrong_method() -> Body:
    """Return the answer to a method the path does not have [U]."""
    return {"code": 405, "error": "Method Not Allowed"}


def amended(body: object, changes: Mapping[str, object]) -> object:
    """Return a JSON object with some keys replaced; any other body unchanged."""
    return {**body, **changes} if isinstance(body, dict) else body
