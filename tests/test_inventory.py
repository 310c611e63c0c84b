"""What this machine has asked for and keeps."""

from insights_nb import connect, inventory, notebook
from tests.service import BODY, UNTIL


def test_empty_tables_have_their_types() -> None:
    """Before the first query both tables are empty and typed."""
    connect.configure(username="a")
    for table in (inventory.jobs(), inventory.cache_info()):
        assert table.empty
        assert str(table["start"].dtype) == "datetime64[us, UTC]"
        assert str(table["digest"].dtype) == "str"


def test_a_finished_query_is_in_both_tables_until_cleared() -> None:
    """cache_info counts rows, shards and bytes; clear_cache says how many reports went."""
    connect.demo(size=1000, until=UNTIL)
    frame = notebook.query(BODY, progress="none")
    kept = inventory.cache_info()
    assert kept.loc[0, "rows"] == len(frame)
    assert kept["bytes"].sum() > 0
    assert kept.loc[0, "events"] == "ApplicationExitEvent"
    assert kept["expires"].isna().all()
    assert {str(kept[name].dtype) for name in ("rows", "shards", "bytes")} == {"Int64"}
    assert list(inventory.jobs()["state"]) == ["done"]
    assert inventory.clear_cache() == 1
    assert inventory.cache_info().empty
    assert inventory.clear_cache() == 0


def test_the_connection_tells_where_and_what() -> None:
    """API, user, file server, running reports and cache, as text and as escaped HTML."""
    service = connect.demo(size=500, until=UNTIL)
    text = repr(inventory.connection())
    assert f"{service.settings['api_url']} (the local demo service)" in text
    assert "running       nothing" in text
    assert "0 reports, 0.0 MB of 20 GB" in text
    connect.configure(username="<b>")
    assert "&lt;b&gt;" in inventory.connection()._repr_html_()
