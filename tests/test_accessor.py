"""df.insights: one-line twins of the log's methods."""

import importlib
import warnings
from typing import Any

import matplotlib
import pandas as pd
import pytest

import insights_nb.accessor
from insights_nb.sessions import session_log
from tests.session_logs import DAY, fetched, make_log


def test_the_accessor_gives_the_logs_tables() -> None:
    """Each method of df.insights is the method of the frame's log."""
    frame = fetched(make_log(20), DAY - 60, DAY + 7200)
    log, some = session_log(frame), make_log(20)["SessionId"].iloc[0]
    pd.testing.assert_frame_equal(frame.insights.sessions(), log.sessions())
    pd.testing.assert_frame_equal(frame.insights.exits(by="exit_action"), log.exits(by="exit_action"))
    pd.testing.assert_frame_equal(frame.insights.timeline(some), log.timeline(some))
    pd.testing.assert_frame_equal(frame.insights.completeness(), log.completeness())
    assert repr(frame.insights.log(steps="event")) == repr(session_log(frame, steps="event"))


def test_every_table_has_a_twin() -> None:
    """df.insights has every table and question of a log, with the same arguments and the same answers."""
    frame: Any = fetched(make_log(15, seed=2), DAY - 60, DAY + 7200)
    log = session_log(frame)
    calls: dict[str, tuple[Any, ...]] = {
        "quality": (),
        "steps": (),
        "actions": (),
        "transitions": ("outcome",),
        "variants": (3,),
        "funnel": (["PLAY_1", "END_CALL"],),
        "loops": (),
        "before": ("MENU_1", 2),
        "after": ("MENU_1", 2),
        "dtmf": (),
        "kpis": (),
        "step_matrix": (4,),
        "compare": (log.sessions()["n_steps"] > 6,),
    }
    for name, arguments in calls.items():
        ours, theirs = getattr(frame.insights, name), getattr(log, name)
        pd.testing.assert_frame_equal(ours(*arguments), theirs(*arguments), obj=name)
    assert frame.insights.suggest_window() == log.suggest_window()
    public = {name for name in dir(log) if not name.startswith("_")}
    assert public - set(dir(frame.insights)) == {"ledger", "select", "starting_in", "events"}


def test_the_accessor_draws() -> None:
    """df.insights.plot draws on the Axes it is given."""
    matplotlib.use("agg")
    from matplotlib.figure import Figure

    frame: Any = make_log(8)
    ax = Figure().subplots()
    assert frame.insights.plot.exits(ax=ax) is ax
    assert frame.insights.plot.timeline(frame["SessionId"].iloc[0], ax=Figure().subplots()).get_title(loc="left")


def test_a_changed_frame_gives_changed_answers() -> None:
    """The accessor never answers from an earlier state of the frame."""
    frame = make_log(5)
    assert len(frame.insights.sessions()) == 5
    frame["SessionId"] = "only one"
    assert len(frame.insights.sessions()) == 1


def test_registering_again_is_silent() -> None:
    """Importing the module again gives no warning and leaves a working accessor."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        importlib.reload(insights_nb.accessor)
        insights_nb.accessor.register()
    assert len(make_log(3).insights.sessions()) == 3


def test_a_strangers_accessor_is_not_replaced_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attribute of that name that is not ours gives pandas' own warning."""
    monkeypatch.setattr(pd.DataFrame, "insights", property(lambda self: "theirs"), raising=False)
    with pytest.warns(UserWarning, match="overriding a preexisting attribute"):
        insights_nb.accessor.register()
