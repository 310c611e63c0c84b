"""The README's Python blocks run, in order and in one namespace, against the local service."""

import re
import subprocess
import sys
from pathlib import Path

from tests.kernel import private_environment

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
PICTURE = re.compile(r"!\[(?P<alt>[^\]]*)\]\((?P<path>[^)\s]+)\)")
LINK = re.compile(r"(?<!!)\[[^\]]+\]\((?!https?:|#|mailto:)(?P<path>[^)#\s]+)")

FIRST = """
import matplotlib
matplotlib.use("agg")
import insights_nb
insights_nb.demo(size=5000)
"""


def script() -> str:
    """The blocks as one program whose lines have the README's own numbers, the demo's start before them."""
    text = README.read_text(encoding="utf-8")
    lines = [""] * (text.count("\n") + 1)
    for block in BLOCK.finditer(text):
        first = text.count("\n", 0, block.start("code"))
        for offset, line in enumerate(block["code"].splitlines()):
            lines[first + offset] = line
    return "\n".join(lines)


def test_the_python_blocks_run(tmp_path: Path) -> None:
    """All blocks together are one program that ends without an error or a warning."""
    code = script()
    assert code.strip(), "the README shows no Python"
    # A demo() of the README's own would serve many rows; the one that runs already is as good.
    code = re.sub(r"^(\s*)insights\.demo\(.*\)", r"\1pass", code, flags=re.MULTILINE)
    runner = f"{FIRST}\nexec(compile({code!r}, 'README.md', 'exec'))\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", runner],
        cwd=tmp_path,
        env=private_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_pictures_and_links_lead_somewhere() -> None:
    """Every picture has a description and a file, and every link within the repository has its target."""
    text = README.read_text(encoding="utf-8")
    pictures = list(PICTURE.finditer(text))
    assert pictures, "the README has no picture"
    for picture in pictures:
        assert picture["alt"], picture["path"]
        assert (ROOT / picture["path"]).is_file(), picture["path"]
    for link in LINK.finditer(text):
        assert (ROOT / link["path"]).exists(), link["path"]
