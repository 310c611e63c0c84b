"""The notebooks run from top to bottom, and are committed as they ran: with pictures, without errors, small."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from PIL import Image, ImageChops, ImageStat

from insights_nb.sessions.plots import Plots
from tests.kernel import execute, with_palette

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
MOST_BYTES = 400_000

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> Any:
    notebook: Any = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    return notebook


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(notebook: Any) -> set[str]:
    """MIME types of everything the notebook shows."""
    return {mime for cell in code_cells(notebook) for output in cell.outputs for mime in output.get("data", ())}


def test_there_are_notebooks() -> None:
    """The first query and the troubleshooter's story are there."""
    assert {"01_first_query", "02_troubleshoot_a_flow"} <= {path.stem for path in NOTEBOOKS}


@every_notebook
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    """In a fresh kernel with an empty cache every cell runs, and the outputs are of the kinds that are committed."""
    committed = read(path)
    fresh = execute(read(path), tmp_path)
    assert kinds(fresh) == kinds(committed)
    assert [len(cell.outputs) for cell in code_cells(fresh)] == [len(cell.outputs) for cell in code_cells(committed)]


@every_notebook
def test_a_notebook_is_committed_as_it_ran(path: Path) -> None:
    """The saved cells ran in order, without an error, with at least one picture and no widget."""
    notebook = read(path)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert "error" not in {output.output_type for output in outputs}
    assert "stderr" not in {output.get("name") for output in outputs}
    assert "image/png" in kinds(notebook)
    assert "widgets" not in notebook.metadata
    assert "application/vnd.jupyter" not in json.dumps(outputs)


@every_notebook
def test_a_notebook_is_small_and_nobody_s_own(path: Path) -> None:
    """The file is quick to clone and holds no folder of the machine it ran on."""
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) < MOST_BYTES
    assert not any(trace in text for trace in ("/work/", "/root/", "/home/", "/tmp/"))


@every_notebook
def test_a_notebook_opens_and_ends_with_words(path: Path) -> None:
    """It opens with a heading and what it shows, and ends with where to go next."""
    notebook = read(path)
    first, last = notebook.cells[0], notebook.cells[-1]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    assert last.cell_type == "markdown"
    assert "next" in last.source.lower()


def test_the_troubleshooter_s_story_has_every_picture() -> None:
    """The second notebook draws each chart a log has, and ends with what was found beside what was planted."""
    cells = code_cells(read(NOTEBOOKS[0].with_name("02_troubleshoot_a_flow.ipynb")))
    code = "\n".join(cell.source for cell in cells)
    charts = [name for name in dir(Plots) if not name.startswith("_")]
    assert [name for name in charts if f".plot.{name}(" not in code] == []
    assert "found" in cells[-1].outputs[0]["data"]["text/plain"]
    assert "service.truths" in cells[-1].source


def test_committed_pictures_look_the_same_and_are_smaller() -> None:
    """A chart keeps its size and its looks with few colours; one with transparent parts is left as it is."""
    from matplotlib.figure import Figure

    for transparent in (False, True):
        drawn = io.BytesIO()
        figure = Figure()
        figure.subplots().bar([1, 2], [3, 4], hatch="//")
        figure.savefig(drawn, transparent=transparent)
        before = base64.b64encode(drawn.getvalue()).decode()
        after = with_palette(before)
        assert (after == before) == transparent
        pair = [Image.open(io.BytesIO(base64.b64decode(one))).convert("RGB") for one in (before, after)]
        assert pair[0].size == pair[1].size
        assert max(ImageStat.Stat(ImageChops.difference(pair[0], pair[1])).mean) < 1
        assert transparent or len(after) < len(before) / 2
