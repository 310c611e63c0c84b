"""The README's pictures, taken in a real JupyterLab: ``python -m tests.pictures docs``; ``make pictures`` does it.

Needs Chromium, as the browser tests do. The same callers and the same cells every time, so that a picture changes only
when what it shows does.
"""

import sys
import tempfile
import threading
from pathlib import Path

from insights_nb.simulator import Fault, Simulator
from tests.lab import Sheet, running_browser, running_lab

CELLS = [
    """import insights_nb as insights
from insights_nb.sessions.example import DEMO_RULES
%load_ext insights_nb
%config InlineBackend.figure_format = "retina"
""",
    """%%insights events --since 2026-11-13 --until 2026-11-20
{
  "data": {
    "ApplicationExitEvent": {"fields": ["EventName", "TimeStamp", "SessionId", "FlowId", "FlowName",
                                        "ActionId", "IsTriggerAction", "Path", "ExitReason"]},
    "DtmfEvent": {"fields": ["EventName", "TimeStamp", "SessionId", "FlowId", "FlowName",
                             "ActionId", "DtmfInput", "ErrorReason"]}
  }
}""",
    "log = insights.session_log(events, rules=DEMO_RULES)\nlog.plot.exits(top=4);",
    "log.explore(rows=8)",
]


def take(folder: Path, theme: str = "Light") -> None:
    """Take every picture."""
    gate = threading.Event()
    late = Fault("SFTP open", "delay", nth=7, times=0, gate=gate)
    service = Simulator(seed=7, size=300_000, until="2026-11-20", shard_rows=20_000, faults=[late])
    with tempfile.TemporaryDirectory() as home, service:
        settings = {f"INSIGHTS_{name.upper()}": value for name, value in service.settings.items()}
        with running_lab(Path(home), settings, theme) as lab, running_browser() as browser:
            lab.write("pictures.ipynb", CELLS)
            sheet = Sheet(browser, lab, "pictures.ipynb", width=1000, height=1500)
            sheet.page.keyboard.press("Control+b")  # without the list of files
            sheet.result(0)
            sheet.run(1)
            sheet.wait(lambda: "file 7 of" in sheet.text(1) or "file 8 of" in sheet.text(1))
            sheet.cell(3).locator(
                ".jp-InputPrompt"
            ).click()  # the mark of the selected cell, and its buttons, elsewhere
            sheet.picture(folder / "progress.png", sheet.cell(1))
            gate.set()
            sheet.finish(1)
            sheet.result(2)
            sheet.picture(folder / "exits.png", sheet.outputs(2).locator("img"))
            sheet.result(3)
            panel = sheet.outputs(3)
            reasons = panel.locator("select").nth(4)
            wanted = reasons.locator("option", has_text="Service Unavailable").first.get_attribute("value")
            reasons.select_option(value=wanted)
            sheet.wait(lambda: "(of " in sheet.text(3))
            panel.locator(".insights-ids button").nth(2).click()
            panel.locator("svg[role=img]").wait_for()
            sheet.picture(folder / "explorer.png", panel.locator(".insights-explorer"), panel.locator("svg[role=img]"))


if __name__ == "__main__":
    take(Path(sys.argv[1]), *sys.argv[2:])
