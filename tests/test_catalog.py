"""The schema: events, fields, types."""

import re

import pytest

from insights_nb.catalog import COMMON_FIELDS, DOCUMENTED, TYPES, FieldType, Schema, nearest, type_of
from insights_nb.errors import ApiError

ANSWER = {
    "ApplicationExitEvent": {"fields": ["StartTime", "EndTime", "Path", "ExitReason"]},
    "DtmfEvent": {"fields": ["DtmfInput", "DtmfSource", "ErrorReason"]},
}


def test_the_documented_answer_is_read() -> None:
    """The vendor's example of GET Q, verbatim, gives its events with common and own fields."""
    schema = Schema.from_answer(ANSWER)
    assert schema.events == ("ApplicationExitEvent", "DtmfEvent")
    assert schema.fields("DtmfEvent") == (*COMMON_FIELDS, "DtmfInput", "DtmfSource", "ErrorReason")
    assert schema.to_answer() == ANSWER
    assert Schema.from_answer(schema.to_answer()) == schema


@pytest.mark.parametrize("answer", [None, [], {}, {"A": []}, {"A": {"fields": "x"}}, {"A": {"fields": [1]}}, "html"])
def test_another_form_is_refused(answer: object) -> None:
    """A schema is never guessed from an answer of another form."""
    with pytest.raises(ApiError, match="unknown form"):
        Schema.from_answer(answer)


def test_a_common_field_listed_again_counts_once() -> None:
    """A service that lists common fields too does not double them."""
    schema = Schema.from_answer({"A": {"fields": ["SessionId", "Own"]}})
    assert schema.fields("A").count("SessionId") == 1


def test_types_are_the_documented_ones_and_strings_otherwise() -> None:
    """Only fields of the table have a type of their own."""
    assert type_of("TimeStamp") is FieldType.TIMESTAMP
    assert type_of("IsTriggerAction") is FieldType.BOOLEAN
    assert type_of("EventVersion") is FieldType.INTEGER
    assert type_of("CustomerId") is FieldType.STRING
    assert type_of("NeverHeardOf") is FieldType.STRING
    assert set(TYPES) <= set(DOCUMENTED.all_fields)


def test_the_table_escapes_what_the_service_says() -> None:
    """An event named like HTML stays text in a notebook."""
    schema = Schema.from_answer({"<img onerror=x>": {"fields": ["<b>"]}})
    assert "<img" not in schema._repr_html_()
    assert "&lt;img" in schema._repr_html_()


def test_the_table_is_whole_without_its_script() -> None:
    """The search box is made by the script alone: where scripts are taken out, every field is still in the table."""
    html = DOCUMENTED._repr_html_()
    plain = re.sub(r"<script>.*</script>", "", html, flags=re.DOTALL)
    assert "<input" not in html
    assert all(f"<code>{field}</code>" in plain for field in DOCUMENTED.all_fields)
    assert html.count("<script>") == 1


def test_the_text_form_lists_every_field() -> None:
    """In a terminal the schema shows each field with its type."""
    text = repr(DOCUMENTED)
    assert text.startswith("Insights schema: 4 events (ApplicationExitEvent, DtmfEvent, CallEvent, MsgEvent)")
    for field in DOCUMENTED.all_fields:
        assert f"  {field} " in text


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Application ExitEvent", "ApplicationExitEvent"),
        ("applicationexitevent", "ApplicationExitEvent"),
        ("DtmfEvnt", "DtmfEvent"),
        ("zzz", ""),
    ],
)
def test_the_nearest_name(name: str, found: str) -> None:
    """Case, spaces and slips of the finger are forgiven; nothing near gives nothing."""
    assert nearest(name, DOCUMENTED.events) == (f' Did you mean "{found}"?' if found else "")
