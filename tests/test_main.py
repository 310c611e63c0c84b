"""The command line, in processes of its own as a user runs it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from insights_nb.__main__ import main


def run(*arguments: str, folder: Path, **more: str) -> "subprocess.CompletedProcess[str]":
    environ = {**os.environ, "INSIGHTS_CONFIG": "", **more}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "insights_nb", *arguments],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_the_demo_runs_from_post_to_chart(tmp_path: Path) -> None:
    """It prints shape, dtypes, rows, exits and both times, writes two pictures, and leaves nothing behind."""
    before = set(Path(os.environ.get("TMPDIR", "/tmp")).glob("insights-*"))
    done = run("demo", "--size", "3000", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    for said in (
        "rows × 15 columns",
        "datetime64[us, UTC]",
        "How the sessions ended",
        "again, from the cache",
        "Next:",
    ):
        assert said in done.stdout
    for name in ("exits.png", "session.png"):
        assert (tmp_path / "demo" / name).read_bytes().startswith(b"\x89PNG")
    assert set(Path(os.environ.get("TMPDIR", "/tmp")).glob("insights-*")) <= before


def test_config_shows_every_source_and_no_secret(tmp_path: Path) -> None:
    """Each setting with its value and where it came from; secrets as ***."""
    done = run("config", folder=tmp_path, INSIGHTS_USERNAME="somebody", INSIGHTS_PASSWORD="canary")
    assert done.returncode == 0
    assert "somebody" in done.stdout
    assert "INSIGHTS_PASSWORD" in done.stdout
    assert "canary" not in done.stdout + done.stderr


def test_a_failure_is_two_lines_and_a_code(tmp_path: Path) -> None:
    """A wrong setting ends with 1 and our message, without a traceback."""
    done = run("config", folder=tmp_path, INSIGHTS_SFTP_PORT="many")
    assert done.returncode == 1
    assert done.stderr.startswith("ConfigError: sftp_port (INSIGHTS_SFTP_PORT)")
    assert "Traceback" not in done.stderr


def test_the_simulator_serves_other_programs(tmp_path: Path) -> None:
    """It prints the settings to use, answers, and ends with 0 on SIGTERM."""
    process = subprocess.Popen(
        [sys.executable, "-m", "insights_nb", "simulator", "--size", "500"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    settings: dict[str, str] = {}
    for line in process.stdout:
        name, _, value = line.removeprefix("export ").strip().partition("=")
        if name.startswith("INSIGHTS_"):
            settings[name] = value.strip("'\"")
        if "INSIGHTS_SFTP_HOST_KEY" in settings:
            break
    login = {"username": settings["INSIGHTS_USERNAME"], "password": settings["INSIGHTS_PASSWORD"]}
    answer = requests.post(f"{settings['INSIGHTS_AUTH_URL']}/_rest/v4/authenticate", json=login, timeout=10)
    assert answer.json()["token"]
    process.send_signal(signal.SIGTERM)
    process.stdout.read()
    process.stdout.close()
    assert process.wait(20) == 0


def test_wrong_usage_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    """Argparse's own words and code."""
    with pytest.raises(SystemExit) as caught:
        main(["dance"])
    assert caught.value.code == 2
    assert "invalid choice" in capsys.readouterr().err
