"""What a test needs of the machine, and what happens where it is missing."""

import os
import shutil
from pathlib import Path

import pytest

from tests.lab import chromium, has_playwright

SSHD = Path("/usr/sbin/sshd")


def require(part: str, present: bool) -> None:
    """Skip the test for want of a part, or fail it where INSIGHTS_TESTS_REQUIRE_PARTS is 1 (CI sets it).

    Parameters
    ----------
    part : str
        What is needed, as a person installs it.
    present : bool
        Whether it is there.
    """
    if present:
        return
    if os.environ.get("INSIGHTS_TESTS_REQUIRE_PARTS") == "1":
        pytest.fail(f"this machine lacks {part}, and INSIGHTS_TESTS_REQUIRE_PARTS=1 says that it must not")
    pytest.skip(f"this machine lacks {part}")


def require_openssh() -> None:
    """Need the OpenSSH server and ssh-keygen."""
    require("the OpenSSH server (openssh-server)", SSHD.exists() and shutil.which("ssh-keygen") is not None)


def require_browser() -> None:
    """Need Chromium, and Playwright's Python package to drive it."""
    require("Chromium (chromium)", chromium() is not None)
    require("Playwright's Python package (extra dev)", has_playwright())
