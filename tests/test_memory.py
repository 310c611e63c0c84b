"""How much memory there is, and how much a report takes."""

from pathlib import Path

import psutil

from insights_nb import memory


def test_the_machine_is_the_limit_without_a_container(tmp_path: Path) -> None:
    """No control group, or one without a limit: what the machine has."""
    machine = psutil.virtual_memory().total
    assert 0 < memory.available(tmp_path) <= machine
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("5\n")
    assert 0 < memory.available(tmp_path) <= machine


def test_a_containers_limit_counts(tmp_path: Path) -> None:
    """What a container may still take, never below nothing."""
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("400\n")
    assert memory.available(tmp_path) == 600
    (tmp_path / "memory.current").write_text("2000\n")
    assert memory.available(tmp_path) == 0


def test_a_frame_takes_a_multiple_of_its_csv() -> None:
    """The estimate grows with the CSV."""
    assert memory.needed(10**9) == 2 * 10**9
