"""What every test starts from: none of our settings, a private home for caches and configuration."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def clean_settings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Take our environment variables away and point the cache at a folder of the test's own."""
    for name in [
        name for name in os.environ if name.startswith("INSIGHTS_") and name != "INSIGHTS_TESTS_REQUIRE_PARTS"
    ]:
        monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("INSIGHTS_CONFIG", "")
    monkeypatch.setenv("INSIGHTS_CACHE_DIR", str(home / "cache"))
    yield home
    if connect := sys.modules.get("insights_nb.connect"):
        connect.reset()


@pytest.fixture(autouse=True)
def copies_of_small_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the columnar copy of every report, that faults meet it too; by itself it is made of larger ones."""
    monkeypatch.setattr("insights_nb.copying.SMALLEST", 0)


def pytest_sessionfinish() -> None:
    """Cut what widgets are left off from their front end: at the interpreter's exit each would complain of its loss.

    Closing them will not do: tests that start a kernel have put another register of connections in place meanwhile.
    """
    if widgets := sys.modules.get("ipywidgets.widgets.widget"):
        for widget in list(widgets._instances.values()):
            widget.comm = None
