"""Support: a JupyterLab of our own on the loopback, and a person at it: headless Chromium, driven by Playwright.

Nothing of the machine's own Jupyter or browser is read or written, and the browser can reach no other machine.
"""

import json
import re
import secrets
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat

from tests.kernel import NODES, private_environment
from tests.service import until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
START_SECONDS = 60
STEP_SECONDS = 60.0
OVERRIDES = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}


def chromium() -> str | None:
    """The browser, where the machine has one."""
    return next((path for name in CHROMIUM if (path := shutil.which(name))), None)


def has_playwright() -> bool:
    """Whether the library that drives it is installed."""
    with suppress(ImportError):
        import playwright.sync_api  # noqa: F401

        return True
    return False


class Lab:
    """A running JupyterLab.

    Parameters
    ----------
    folder : Path
        Where everything it writes goes; notebooks are in ``notebooks``.
    port, token
        How it is reached.
    """

    def __init__(self, folder: Path, port: int, token: str) -> None:
        self.folder = folder
        self.notebooks = folder / "notebooks"
        self._port = port
        self._token = token

    def url(self, path: str) -> str:
        """Address of a page or of the server's API."""
        return f"http://127.0.0.1:{self._port}/{path}?token={self._token}"

    def is_up(self) -> bool:
        """Whether the server answers."""
        try:
            with urllib.request.urlopen(self.url("api"), timeout=5):
                return True
        except OSError:
            return False

    def write(self, name: str, sources: Sequence[str]) -> None:
        """A notebook with these code cells."""
        cells = [NODES.new_code_cell(source) for source in sources]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = NODES.new_notebook(cells=cells, metadata={"kernelspec": kernel})
        nbformat.write(notebook, self.notebooks / name)  # type: ignore[no-untyped-call]

    def read(self, name: str) -> Any:
        """The notebook as it was saved."""
        return nbformat.read(self.notebooks / name, as_version=4)  # type: ignore[no-untyped-call]


@contextmanager
def running_lab(folder: Path, extra: Mapping[str, str] | None = None, theme: str = "Light") -> Iterator[Lab]:
    """Start JupyterLab with an environment of its own, and end it with its kernels."""
    settings, log = folder / "jupyter" / "lab" / "settings", folder / "lab.log"
    for place in (folder / "notebooks", settings, folder / "config"):
        place.mkdir(parents=True, exist_ok=True)
    themed = {"@jupyterlab/apputils-extension:themes": {"theme": f"JupyterLab {theme}"}}
    (settings / "overrides.json").write_text(json.dumps(OVERRIDES | themed))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        lab = Lab(folder, free.getsockname()[1], secrets.token_hex(16))
    environment = private_environment(folder) | {
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "user-settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        **(extra or {}),
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
    options = [
        f"--port={lab._port}",
        f"--IdentityProvider.token={lab._token}",
        f"--ServerApp.root_dir={lab.notebooks}",
        f"--LabApp.app_settings_dir={settings}",
        "--LabApp.extension_manager=readonly",
        "--LabApp.news_url=",
    ]
    with log.open("wb") as output:
        server = subprocess.Popen([*command, *options], env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        until(lambda: lab.is_up() or server.poll() is not None, START_SECONDS)
        assert server.poll() is None, log.read_text()
        yield lab
    finally:
        server.terminate()
        server.wait(30)


@contextmanager
def running_browser() -> Iterator["Browser"]:
    """Headless Chromium with an empty profile."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=[*FLAGS])
        try:
            yield browser
        finally:
            browser.close()


class Sheet:
    """A notebook that is open in the browser, as a person sees it.

    Parameters
    ----------
    browser : Browser
        Where to open it.
    lab : Lab
        What serves it.
    name : str
        The notebook's file.
    """

    def __init__(self, browser: "Browser", lab: Lab, name: str, *, width: int = 1100, height: int = 1000) -> None:
        self.page: Page = browser.new_page(viewport={"width": width, "height": height}, device_scale_factor=1.5)
        self.page.set_default_timeout(STEP_SECONDS * 1000)
        self.strangers: list[str] = []
        self.page.on("request", self._note)
        self._folder = lab.folder
        self._url = lab.url(f"lab/tree/{name}")
        self.open("&reset")

    def open(self, more: str = "") -> None:
        """Load the page, and wait for the notebook and its kernel."""
        self.page.goto(self._url + more)
        self.page.locator(".jp-Notebook .jp-Cell").first.wait_for()
        self.page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").first.wait_for(state="attached")

    def cell(self, number: int) -> "Locator":
        """One cell, the first being 0."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(number)

    def outputs(self, number: int) -> "Locator":
        """What a cell shows."""
        return self.cell(number).locator(".jp-Cell-outputArea")

    def run(self, number: int) -> None:
        """Press Ctrl+Enter in a cell, and wait until it is on its way; not until it is done."""
        before = self.prompt(number)
        for patience in (5, STEP_SECONDS):
            if self.page.locator("dialog.jp-Dialog").count():  # a question of JupyterLab's own: its usual answer
                self.page.keyboard.press("Enter")
            self.cell(number).locator(".jp-InputPrompt").click()
            self.page.keyboard.press("Control+Enter")
            # A front end that is still starting can lose a key; a person would press it again.
            with suppress(AssertionError):
                until(lambda: self.prompt(number) != before, patience)
                return
        raise AssertionError(f"cell {number} does not run")

    def prompt(self, number: int) -> str:
        """``[ ]:``, ``[*]:`` or the count of a cell."""
        return self.cell(number).locator(".jp-InputPrompt").inner_text().strip()

    def finish(self, number: int) -> str:
        """Wait until a cell is done; the text of what it shows."""

        def done() -> object:
            # A kernel that was not quite there yet can lose a cell it had taken: it is as if it had never been run.
            if self.prompt(number) == "[ ]:":
                self.run(number)
            return re.search(r"\d", self.prompt(number))

        self.wait(done)
        return self.text(number)

    def result(self, number: int) -> str:
        """Run a cell to its end; the text of what it shows."""
        self.run(number)
        return self.finish(number)

    def text(self, number: int) -> str:
        """What a cell shows, as text."""
        area = self.outputs(number)
        return re.sub(r"\xa0", " ", area.inner_text()) if area.count() else ""

    def type_into(self, number: int, text: str) -> None:
        """Replace a cell's source by typing."""
        self.cell(number).locator(".cm-content").click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(text)

    def source(self, number: int) -> str:
        """A cell's source, as it stands in the editor."""
        return self.cell(number).locator(".cm-content").inner_text()

    def wait(self, condition: Callable[[], object]) -> None:
        """Wait until something is so; when it never is, say what was on the screen and keep a picture of it."""
        try:
            until(condition, STEP_SECONDS)
        except AssertionError:
            picture = self._folder / "failed.png"
            self.page.screenshot(path=picture)
            shown = self.page.locator(".jp-Notebook").inner_text()
        else:
            return
        raise AssertionError(f"it never happened; the notebook ({picture}) showed:\n{shown}")

    def picture(self, path: Path, what: "Locator", last: "Locator | None" = None) -> None:
        """A picture of a part of the page, down to the end of another where one is given; nothing hovers over it."""
        what.scroll_into_view_if_needed()
        self.page.mouse.move(2, 2)
        box, end = what.bounding_box(), (last or what).bounding_box()
        assert box is not None
        assert end is not None
        clip: Any = {**box, "height": end["y"] + end["height"] - box["y"]}
        self.page.screenshot(path=path, clip=clip, animations="disabled", caret="hide")

    def stop(self) -> None:
        """Press the Stop button of the notebook's toolbar."""
        self.page.locator("[data-command='notebook:interrupt-kernel'], jp-button[title*='Interrupt']").first.click()

    def save(self) -> None:
        """Press Ctrl+S, and wait until the tab is no longer marked as changed."""
        self.page.keyboard.press("Control+s")
        self.page.locator(".jp-mod-current.jp-mod-dirty").wait_for(state="detached")

    def _note(self, request: Any) -> None:
        if not re.match(r"(https?|wss?)://127\.0\.0\.1[:/]|data:|blob:", request.url):
            self.strangers.append(request.url)
