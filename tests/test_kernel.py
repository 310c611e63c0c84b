"""The Stop button: a real kernel, a real interrupt, a report that is still running, and the same cell again."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from insights_nb.simulator import Simulator
from tests.kernel import RunningCell, running_kernel

RANGE = 'since="2026-11-13", until="2026-11-20"'
FUNCTION = f"""
import insights_nb as insights
df = insights.query(events={{"ApplicationExitEvent": ["SessionId", "ExitReason"]}}, {RANGE})
type(df).__name__, len(df), df.attrs["insights"]["report_id"]
"""
MAGIC = """%%insights df --since 2026-11-13 --until 2026-11-20
{"data": {"ApplicationExitEvent": {"fields": ["SessionId", "ExitReason"]}}}
"""


@pytest.fixture
def service() -> Iterator[Simulator]:
    """A local service whose reports stay Pending until they are released."""
    with Simulator(size=2000, until="2026-11-20") as simulator:
        simulator.hold()
        yield simulator


def settings_of(service: Simulator) -> dict[str, str]:
    return {f"INSIGHTS_{name.upper()}": value for name, value in service.settings.items()}


def posts(service: Simulator) -> int:
    return service.count("POST", r"/dwh/Q$")


def text_of(bundles: list[dict[str, Any]]) -> str:
    return "\n".join(str(bundle["data"].get("text/plain")) for bundle in bundles)


@pytest.mark.parametrize("cell", [FUNCTION, MAGIC], ids=["query", "magic"])
def test_stop_leaves_at_once_and_the_same_cell_picks_the_report_up(
    service: Simulator, tmp_path: Path, cell: str
) -> None:
    """An interrupted cell fails with KeyboardInterrupt and the note; run again it resumes, and there was one POST."""
    with running_kernel(tmp_path, settings_of(service)) as (manager, client):
        assert RunningCell(client, "%load_ext insights_nb").finish()["status"] == "ok"
        waiting = RunningCell(client, cell)
        waiting.read_until(lambda: service.count("GET", "/status$") > 0)
        started = time.monotonic()
        manager.interrupt_kernel()
        reply = waiting.finish()
        seconds = time.monotonic() - started

        assert reply["status"] == "error"
        assert reply["ename"] == "KeyboardInterrupt"
        assert seconds < 5
        note = text_of(waiting.shown("update_display_data"))
        assert "stopped waiting" in note
        assert "Run the cell again to pick it up" in note
        shown = "\n".join(waiting.shown("error")[0]["traceback"])
        assert shown.startswith("KeyboardInterrupt: stopped waiting; report ")
        assert len(shown.splitlines()) == 1
        assert not any(secret in shown for name, secret in service.settings.items() if "password" in name)
        assert posts(service) == 1

        service.release()
        again = RunningCell(client, cell)
        assert again.finish()["status"] == "ok"
        look = RunningCell(client, "type(df).__name__, len(df) > 100, df.attrs['insights']['report_id'] != ''")
        look.finish()
        assert look.shown("execute_result")[0]["data"]["text/plain"] == "('DataFrame', True, True)"
        assert posts(service) == 1


def test_another_kernel_picks_the_report_up(service: Simulator, tmp_path: Path) -> None:
    """After a restart the same cell in a new kernel resumes the report of the killed one."""
    with running_kernel(tmp_path, settings_of(service)) as (manager, client):
        waiting = RunningCell(client, FUNCTION)
        waiting.read_until(lambda: service.count("GET", "/status$") > 0)
        manager.restart_kernel(now=True)
    service.release()
    with running_kernel(tmp_path, settings_of(service)) as (_, client):
        again = RunningCell(client, FUNCTION)
        assert again.finish()["status"] == "ok"
        assert again.shown("execute_result")[0]["data"]["text/plain"].startswith("('DataFrame', ")
    assert posts(service) == 1
