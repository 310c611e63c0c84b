"""The torture in its short form: a sample of kills, crash points, failing disks and interrupts."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "torture.py"
COUNT = re.compile(r"^  (?P<what>.+?) {2,}(?P<count>[\d,]+)  must be (?P<must>zero|some)", re.MULTILINE)


@pytest.mark.timeout(300)
def test_nothing_is_lost_or_left_under_torture() -> None:
    """Every count that must be zero is, and every control finds what it was made to find."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--short"], capture_output=True, text=True, timeout=280, check=False
    )
    said = done.stdout + done.stderr
    counts = [(found["what"], int(found["count"].replace(",", "")), found["must"]) for found in COUNT.finditer(said)]
    zeros = [count for what, count, must in counts if must == "zero"]
    assert len(zeros) >= 30, said
    assert not any(zeros), said
    controls = [count for what, count, must in counts if must == "some"]
    assert len(controls) >= 3, said
    assert all(controls), said
    assert done.returncode == 0, said
