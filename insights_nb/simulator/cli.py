"""The service in the foreground, for programs that are not in this process."""

import argparse
import math
import shlex
import signal
import sys
import threading
from collections.abc import Sequence

from .service import Simulator


def main(argv: Sequence[str]) -> int:
    """Serve until SIGINT or SIGTERM, after printing the settings to use as shell lines.

    Parameters
    ----------
    argv
        The arguments behind the command's name.

    Returns
    -------
    int
        0 after a signal, 1 if the service could not be started (argparse itself exits with 2).
    """
    asked = _parser().parse_args(argv)
    options = {name: value for name, value in vars(asked).items() if value is not None}
    ended = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda *_: ended.set())
    try:
        with Simulator(**options) as service:
            lines = [f"export INSIGHTS_{k.upper()}={shlex.quote(v)}" for k, v in service.settings.items()]
            sys.stdout.write("\n".join([*lines, "# serving until interrupted", ""]))
            sys.stdout.flush()
            ended.wait()
    except (OSError, ValueError) as error:
        sys.stderr.write(f"the simulator cannot start: {error}\n")
        return 1
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m insights_nb simulator", description="A local Insights service on 127.0.0.1."
    )
    parser.add_argument("--port", type=int, help="HTTP port (default: a free one)")
    parser.add_argument("--sftp-port", type=int, help="SFTP port (default: a free one)")
    parser.add_argument("--events", metavar="PATH", help="serve a CSV, CSV.gz or Parquet file of events")
    parser.add_argument("--seed", type=int, help="seed of the invented events (default: 7)")
    parser.add_argument("--size", type=int, help="about how many events to invent (default: 200000)")
    parser.add_argument("--until", metavar="TIME", help="end of the seven invented days, ISO (default: now)")
    parser.add_argument("--pending", type=_seconds, help="seconds a report stays Pending (default: 0)")
    parser.add_argument("--shard-rows", type=int, help="most rows of a shard (default: 100000)")
    parser.add_argument("--slots", type=int, help="reports that may run at once (default: 2)")
    parser.add_argument("--layout", choices=("union", "per_event"), help="files of a query with several events")
    parser.add_argument("--username", help="API login")
    parser.add_argument("--password", help="API password")
    parser.add_argument("--sftp-username", help="SFTP login")
    parser.add_argument("--sftp-password", help="SFTP password")
    parser.add_argument("--sftp-key", metavar="LINE", help="an OpenSSH public key that may log in, too")
    parser.add_argument("--sftp-root", metavar="FOLDER", help="folder on the SFTP server that holds reports/")
    return parser


def _seconds(text: str) -> float:
    value = float(text)
    if not value >= 0 or math.isnan(value):
        raise argparse.ArgumentTypeError("seconds are not negative")
    return value
