"""The ways that are measured, ours and others', each run alone in a process of its own by ``speed.py``."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import resource
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent.parent), str(Path(__file__).resolve().parent)]

FIELDS = """EventName TimeStamp FlowId FlowName ActionId ActionName IsTriggerAction SessionId TransactionId
    ApplicationRegion StartTime EndTime Path ExitReason DtmfInput ErrorReason EventVersion""".split()
TIMES = ["TimeStamp", "StartTime", "EndTime"]
BODY = {
    "data": {"ApplicationExitEvent": {"fields": FIELDS}},
    "timestamp": {"$gte": "2026-03-01T00:00:00Z", "$lte": "2026-03-08T00:00:00Z"},
}


def account_and_query(folder: Path, cap: int = 10**12) -> Any:
    """Return an account whose cache is a folder, and the query whose report it holds."""
    from insights_nb.account import Account
    from insights_nb.settings import resolve
    from insights_nb.spec import Query, canonical

    told = {"cache_dir": folder, "username": "benchmark", "password": "none", "cache_max_bytes": cap}
    return Account(resolve(told, environ={"INSIGHTS_CONFIG": ""})), Query(canonical(BODY))


def ours(folder: Path, cap: int, **how: Any) -> Any:
    """Ask a query whose report is in the cache; with a cap of nothing no copy is made."""
    from insights_nb.report import submit

    account, query = account_and_query(folder, cap)
    return submit(account, query).result(**how)


def shards(folder: Path) -> list[Path]:
    """Return the cached report's files."""
    return sorted(folder.rglob("shard-*.csv.gz"))


def by_pandas(folder: Path) -> Any:
    """What an expert writes: declared dtypes, then the times by their one format."""
    import pandas as pd

    dtypes: Any = dict.fromkeys(FIELDS, "str") | {"IsTriggerAction": "boolean", "EventVersion": "Int64"}
    frame = pd.concat([pd.read_csv(path, dtype=dtypes) for path in shards(folder)], ignore_index=True)
    for name in TIMES:
        frame[name] = pd.to_datetime(frame[name].str.removesuffix(" UTC"), format="ISO8601", utc=True)
    return frame


def by_polars(folder: Path) -> Any:
    """Declared text, then the typed columns, in one lazy query."""
    import polars as pl

    rows = pl.scan_csv(shards(folder), schema=dict.fromkeys(FIELDS, pl.String))
    typed = [pl.col(name).str.to_datetime("%Y-%m-%d %H:%M:%S%.f UTC", time_unit="us") for name in TIMES]
    typed += [pl.col("IsTriggerAction") == "true", pl.col("EventVersion").cast(pl.Int64)]
    return rows.with_columns(typed).collect().to_arrow()


def by_duckdb(folder: Path) -> Any:
    """Declared types in one query, into Arrow."""
    import duckdb

    times = ", ".join(f"CAST(replace({name}, ' UTC', '') AS TIMESTAMP) AS {name}" for name in TIMES)
    files = [str(path) for path in shards(folder)]
    return duckdb.sql(
        f"SELECT * REPLACE ({times}, CAST(IsTriggerAction AS BOOLEAN) AS IsTriggerAction, "
        f"CAST(EventVersion AS BIGINT) AS EventVersion) FROM read_csv({files}, header=true, all_varchar=true)"
    ).to_arrow_table()


def by_pyarrow(folder: Path) -> Any:
    """One shard after another, declared types, the times by a cast."""
    import pyarrow as pa
    from pyarrow import compute, csv

    types = dict.fromkeys(FIELDS, pa.large_string()) | {"IsTriggerAction": pa.bool_(), "EventVersion": pa.int64()}
    options = csv.ConvertOptions(column_types=types, strings_can_be_null=True)
    table = pa.concat_tables([csv.read_csv(path, convert_options=options) for path in shards(folder)])
    for name in TIMES:
        bare = compute.replace_substring(table.column(name), " UTC", "Z")
        table = table.set_column(FIELDS.index(name), name, bare.cast(pa.timestamp("us", tz="UTC")))
    return table


def touched(frame: Any) -> Any:
    """Look at every cell of a frame once."""
    return [column.str.len().sum() if column.dtype == "str" else column.isna().sum() for _, column in frame.items()]


def clear_copy(folder: Path) -> None:
    """Take the columnar copy away."""
    for path in [*folder.rglob("*.columns.arrow"), *folder.rglob("*.columns.json")]:
        path.unlink()


WAYS: dict[str, Callable[[Path], Any]] = {
    "pandas": by_pandas,
    "pandas, every column touched": lambda folder: touched(by_pandas(folder)),
    "polars": by_polars,
    "duckdb": by_duckdb,
    "pyarrow": by_pyarrow,
    "ours cold": lambda folder: ours(folder, 1),
    "ours cold, Arrow dtypes": lambda folder: ours(folder, 1, dtype_backend="pyarrow"),
    "ours cold, copy written": lambda folder: ours(folder, 10**12, dtype_backend="pyarrow"),
    "ours warm": lambda folder: ours(folder, 10**12),
    "ours warm, Arrow dtypes": lambda folder: ours(folder, 10**12, dtype_backend="pyarrow"),
    "ours warm, two columns": lambda folder: ours(folder, 10**12, columns=["SessionId", "ExitReason"]),
    "ours warm, every column touched": lambda folder: touched(ours(folder, 10**12)),
}


def access_of(place: dict[str, Any]) -> Any:
    """Return what our client needs to read the files."""
    from insights_nb.access import Access

    keys = tuple(place["host_keys"])
    return Access(place["host"], place["port"], place["user"], None, Path(place["key"]), keys, place["root"])


def fetch_ours(place: dict[str, Any], target: Path) -> None:
    """By our transfer: connect, fetch, check, put under its name."""
    from insights_nb.transfer import fetch_shards

    fetch_shards(access_of(place), place["files"], target / "ours", observe=lambda *_: None)


def fetch_unchecked(place: dict[str, Any], target: Path) -> None:
    """By our connections alone, two where there are several files: the bytes to files, as the others do."""
    from insights_nb.access import PATIENT
    from insights_nb.link import Link

    waiting = deque(place["files"])

    def fetch(link: Link) -> None:
        session = link.session()
        while waiting:
            name = waiting.popleft()
            path = f"{place['root']}/{name}"
            size = next(session.stat([path])).size
            with (target / name).open("wb") as file:
                for block in session.open(path).read(0, size):
                    file.write(block)
        link.end()

    links = [Link(access_of(place), PATIENT) for _ in place["files"][:2]]
    with ThreadPoolExecutor(len(links)) as pool:
        list(pool.map(fetch, links))


def fetch_openssh(place: dict[str, Any], target: Path) -> None:
    """By the sftp command, with its own settings."""
    quiet = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    where = f"{place['user']}@{place['host']}"
    command = ["sftp", "-q", *quiet, "-i", place["key"], "-P", str(place["port"]), "-b", "-", where]
    gets = "".join(f"get {place['root']}/{name} {target}\n" for name in place["files"])
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, input=gets, text=True)


def fetch_paramiko(place: dict[str, Any], target: Path) -> None:
    """By paramiko's own get."""
    import paramiko

    with paramiko.Transport((place["host"], place["port"])) as transport:
        transport.connect(username=place["user"], pkey=paramiko.Ed25519Key.from_private_key_file(place["key"]))
        client = paramiko.SFTPClient.from_transport(transport)
        assert client is not None
        for name in place["files"]:
            client.get(f"{place['root']}/{name}", str(target / name))


def fetch_asyncssh(place: dict[str, Any], target: Path) -> None:
    """By asyncssh's get, many requests at once."""
    import asyncssh

    async def fetch() -> None:
        words: Any = {"known_hosts": None, "client_keys": [place["key"]], "username": place["user"]}
        connecting = asyncssh.connect(place["host"], place["port"], **words)
        async with connecting as connection, connection.start_sftp_client() as client:
            await client.get([f"{place['root']}/{name}" for name in place["files"]], str(target))

    asyncio.run(fetch())


def frame_ours(place: dict[str, Any], target: Path) -> None:
    """From a finished report to its DataFrame, everything checked, the files and their columns in the cache."""
    from arriving import arriving

    arriving(access_of(place), place["files"], target / "cache").result()


def frame_pyarrow(place: dict[str, Any], target: Path) -> None:
    """First the files, by the sftp command, then the table, by pyarrow."""
    fetch_openssh(place, target)
    by_pyarrow(target)


FETCHES: dict[str, Callable[[dict[str, Any], Path], None]] = {
    "ours": fetch_ours,
    "ours, unchecked": fetch_unchecked,
    "OpenSSH sftp": fetch_openssh,
    "paramiko get": fetch_paramiko,
    "asyncssh": fetch_asyncssh,
}

FRAMES: dict[str, Callable[[dict[str, Any], Path], None]] = {
    "ours, unchecked": fetch_unchecked,
    "ours, to a frame": frame_ours,
    "OpenSSH sftp, then pyarrow": frame_pyarrow,
}


LIBRARIES = {
    "ours": ("insights_nb.transfer", "paramiko"),
    "ours, unchecked": ("insights_nb.transfer", "paramiko"),
    "ours, to a frame": ("insights_nb.report", "paramiko", "pyarrow.csv", "pyarrow.dataset", "isal.isal_zlib"),
    "OpenSSH sftp, then pyarrow": ("pyarrow.csv", "pyarrow.compute"),
    "paramiko get": ("paramiko",),
    "asyncssh": ("asyncssh",),
}


def anonymous_peak() -> float:
    """Most memory this process held, MB; pages of mapped files, which the system takes back, are in it too."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    """Do one thing and print how long it took: the libraries are imported before the clock runs."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    if len(sys.argv) > 3:
        place = json.loads(sys.argv[3])
        for library in LIBRARIES.get(name, ()):
            importlib.import_module(library)
        if name.startswith("ours"):
            os.makedirs(folder / "ours", 0o700, exist_ok=True)
        started = time.perf_counter()
        {**FETCHES, **FRAMES}[name](place, folder)
    else:
        if name.startswith("ours cold"):
            clear_copy(folder)
        import pandas as pd
        import pyarrow.csv
        import pyarrow.dataset  # noqa: F401

        import insights_nb.report  # noqa: F401

        if name in ("polars", "duckdb"):
            __import__(name)
        pd.Series(["a"], dtype="str").str.len()
        started = time.perf_counter()
        kept = WAYS[name](folder)
        del kept
    print(json.dumps({"seconds": time.perf_counter() - started, "peak": anonymous_peak()}))


if __name__ == "__main__":
    main()
