"""What progress says: sizes, lengths of time, stages, and the line that stays."""

import pytest

from insights_nb import wording
from insights_nb.errors import BusyError
from insights_nb.progress import Progress, Stage

REPORT = "ae9f1c2203d14b0c8a7e5d6f00112233"
DONE = Progress(
    Stage.DONE, elapsed=12.3, report_id=REPORT, shards=4, shards_done=4, bytes_total=3_100_000, rows=212_345, columns=9
)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (48_240_000, "48.2 MB"),
        (999_600, "1.0 MB"),
        (482_400_000, "482 MB"),
        (1e12, "1.0 TB"),
        (2.5e15, "2,500.0 TB"),
    ],
)
def test_sizes_read_well(count: float, text: str) -> None:
    """A size has a decimal unit and about three digits."""
    assert wording.human_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0 s"),
        (0.42, "0.4 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7620, "2 h 07 min"),
        (86400, "24 h 00 min"),
        (200_000, "2 d 07 h"),
    ],
)
def test_lengths_of_time_read_well(seconds: float, text: str) -> None:
    """A length of time has at most two units."""
    assert wording.human_seconds(seconds) == text


def test_a_wait_says_how_long_and_for_what() -> None:
    """The line of a wait has the stage, the seconds, the report and the note."""
    waiting = Progress(Stage.RUNNING, elapsed=42, report_id=REPORT, note="picked up")
    assert wording.stage_line(waiting) == "running on the service · 42 s · report ae9f1c22… · picked up"


def test_a_download_says_how_much_is_left() -> None:
    """The line of a download has percent, file, bytes, rate and time left."""
    line = wording.stage_line(
        Progress(Stage.DOWNLOADING, elapsed=3, shards=4, shards_done=1, bytes_total=1_000_000, bytes_done=250_000),
        rate=50_000,
    )
    assert line == "downloading · 25 % · file 2 of 4 · 250 kB of 1.0 MB · 50.0 kB/s · 15 s left"


def test_a_download_of_unknown_size_says_what_is_here() -> None:
    """Without a total there is no percent and no time left."""
    assert (
        wording.stage_line(Progress(Stage.DOWNLOADING, bytes_done=2000), rate=10.0) == "downloading · 2.0 kB · 10 B/s"
    )


def test_the_summary_of_a_fetched_report() -> None:
    """The last line has shape, size, seconds and report."""
    assert wording.summary_line(DONE) == "212,345 rows × 9 columns · 3.1 MB in 4 files · 12 s · report ae9f1c22…"


def test_the_summary_of_a_cached_report() -> None:
    """A frame from the cache says its age and how to fetch it anew."""
    cached = Progress(Stage.DONE, elapsed=0.2, shards=1, bytes_total=50, rows=1, columns=2, cached=True, age=300)
    assert wording.summary_line(cached) == (
        "1 rows × 2 columns · 50 B in 1 file · 0.2 s · "
        "from the cache, fetched 5 min 00 s ago; refresh=True fetches it anew"
    )


def test_a_missing_shard_is_loud() -> None:
    """Fewer files than the report lists show in the summary."""
    assert "in 3 of 4 files" in wording.summary_line(Progress(Stage.DONE, shards=4, shards_done=3, bytes_total=1))


def test_a_failure_keeps_class_and_first_line() -> None:
    """The last line of a failure has the class and the first line of the message, not the hint."""
    assert (
        wording.failure_line(BusyError("both slots taken\nand more", "Wait.")) == "failed: BusyError: both slots taken"
    )
    assert wording.failure_line(ValueError()) == "failed: ValueError"


def test_every_last_line_has_a_sign_and_words() -> None:
    """Result, failure and interrupt differ in sign and in words, so no colour is needed."""
    note = "stopped waiting; still running on the service as ae9f…; run the cell again to pick it up"
    assert wording.last_line(DONE, None, "").startswith("✓ 212,345 rows")
    assert wording.last_line(DONE, BusyError("no"), "").startswith("✗ failed: BusyError")
    assert wording.last_line(None, KeyboardInterrupt(), note) == f"■ {note}"
    assert wording.last_line(None, KeyboardInterrupt(), "") == "■ stopped"
    assert wording.last_line(None, None, "") == ""


def test_the_static_line_is_escaped() -> None:
    """Words of the service cannot become markup."""
    bundle = wording.static_bundle("<script>alert(1)</script> & co")
    assert "<script>" not in bundle["text/html"]
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in bundle["text/html"]


def test_control_characters_do_not_reach_a_terminal() -> None:
    """Escape sequences and line ends in a note become blanks."""
    line = wording.stage_line(Progress(Stage.RUNNING, note="a\x1b[2Jb\r\nc\x9bd"))
    assert line.isprintable()
    assert line.endswith("a [2Jb c d")


def test_a_line_may_say_which_of_several_reports_it_is_about() -> None:
    """A name stands between the sign and the words, whatever happened."""
    assert wording.last_line(DONE, None, "", "2/3 DtmfEvent").startswith("✓ 2/3 DtmfEvent · 212,345 rows")
    assert wording.last_line(None, BusyError("no"), "", "1/2 CallEvent") == "✗ 1/2 CallEvent · failed: BusyError: no"
    assert wording.last_line(None, KeyboardInterrupt(), "kept", "1/2 CallEvent") == "■ 1/2 CallEvent · kept"


def test_several_lines_are_several_lines() -> None:
    """Each line has an element of its own in HTML and a line of its own in text; empty ones are left out."""
    bundle = wording.static_bundle("✓ one", "", "✗ <two>")
    assert bundle["text/html"] == "<div><b>insights</b> ✓ one</div><div><b>insights</b> ✗ &lt;two&gt;</div>"
    assert bundle["text/plain"] == "insights ✓ one\ninsights ✗ <two>"
