"""Support: real kernels and notebooks with an environment of their own.

``python -m tests.kernel notebooks/*.ipynb`` runs notebooks and keeps their outputs in the files, as they are committed.
"""

import base64
import io
import os
import queue
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from PIL import Image

START_SECONDS = 60
CELL_SECONDS = 100
COLORS = 64
NODES: Any = nbformat.v4  # its functions come without types


def private_environment(folder: Path) -> dict[str, str]:
    """The environment of this process without our settings, everything we or Jupyter write going to a folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("INSIGHTS_")}
    return kept | {
        "INSIGHTS_CACHE_DIR": str(folder / "cache"),
        "INSIGHTS_CONFIG": "",
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "MPLCONFIGDIR": str(folder / "matplotlib"),
    }


def execute(notebook: nbformat.NotebookNode, folder: Path, *, allow_errors: bool = False) -> nbformat.NotebookNode:
    """Run every cell in a fresh kernel, as ``jupyter execute`` does; the outputs are in the notebook."""
    # Widgets left in the file's metadata would outlive their kernel; nbclient alone keeps them.
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        allow_errors=allow_errors,
        store_widget_state=False,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=private_environment(folder))
    return notebook


def executed(sources: list[str], folder: Path, *, allow_errors: bool = False) -> list[list[Any]]:
    """Outputs of each of some cells, run in one fresh kernel."""
    notebook = NODES.new_notebook(cells=[NODES.new_code_cell(source) for source in sources])
    return [cell.outputs for cell in execute(notebook, folder, allow_errors=allow_errors).cells]


def with_palette(picture: str) -> str:
    """A chart as base64 PNG with few colours, which look the same and take a third of the bytes in git."""
    chart = Image.open(io.BytesIO(base64.b64decode(picture)))
    if chart.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        return picture
    few = io.BytesIO()
    chart.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(few, "PNG", optimize=True)
    return base64.b64encode(few.getvalue()).decode()


def refresh(path: Path) -> None:
    """Run a notebook and write it back with its outputs, without the times and versions that change at every run."""
    notebook: Any = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as folder:
        execute(notebook, Path(folder))
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", ()):
                output.data["image/png"] = with_palette(output.data["image/png"])
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, path)  # type: ignore[no-untyped-call]


@contextmanager
def running_kernel(
    folder: Path, extra: Mapping[str, str] | None = None
) -> Iterator[tuple[KernelManager, BlockingKernelClient]]:
    """A real kernel and a client that is ready to send it cells; shut down at the end."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env=private_environment(folder) | dict(extra or {}), cwd=str(folder))
    client = manager.blocking_client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=START_SECONDS)
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


class RunningCell:
    """One cell sent to a kernel, while it runs.

    Parameters
    ----------
    client : BlockingKernelClient
        Of the kernel.
    code : str
        The cell.
    """

    def __init__(self, client: BlockingKernelClient, code: str) -> None:
        self._client = client
        self._id = client.execute(code)
        self._idle = False
        self.messages: list[dict[str, Any]] = []

    def read_until(self, condition: Callable[[], bool], seconds: float = CELL_SECONDS) -> None:
        """Read what the cell shows until something holds; AssertionError when it does not in time."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not in {seconds} s; the cell showed {self.messages}"
            try:
                message = self._client.get_iopub_msg(timeout=0.05)
            except queue.Empty:
                continue
            if message["parent_header"].get("msg_id") == self._id:
                self.messages.append(message)
                self._idle |= message["content"].get("execution_state") == "idle"

    def finish(self, seconds: float = CELL_SECONDS) -> dict[str, Any]:
        """Content of the kernel's reply, once the cell is over."""
        self.read_until(lambda: self._idle, seconds)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            reply = self._client.get_shell_msg(timeout=seconds)
            if reply["parent_header"].get("msg_id") == self._id:
                content: dict[str, Any] = reply["content"]
                return content
        raise AssertionError(f"no reply in {seconds} s")

    def shown(self, kind: str) -> list[dict[str, Any]]:
        """Contents of one kind of message, in order."""
        return [message["content"] for message in self.messages if message["msg_type"] == kind]


if __name__ == "__main__":
    for name in sys.argv[1:]:
        refresh(Path(name))
