"""How much memory there is, and how much a report would take."""

from pathlib import Path

import psutil

# A frame of text columns is about as large as its CSV, and reading holds part of it twice. Measured on reports
# of 0.2 and 2 million events: the peak was 1.5 times the CSV.
FACTOR = 2.0
_CGROUP = Path("/sys/fs/cgroup")


def needed(inflated: int) -> int:
    """Bytes of memory to read a report whose CSV has ``inflated`` bytes, about."""
    return int(inflated * FACTOR)


def available(cgroup: Path = _CGROUP) -> int:
    """Bytes of memory this process may still take: of the machine's, and of its container's where it has one."""
    free = int(psutil.virtual_memory().available)
    try:
        limit, used = ((cgroup / name).read_text().strip() for name in ("memory.max", "memory.current"))
        return free if limit == "max" else max(0, min(free, int(limit) - int(used)))
    except (OSError, ValueError):
        return free
