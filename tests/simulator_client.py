"""Support: a plain client of the local service, made of requests, paramiko, gzip and csv, and nothing of ours."""

import csv
import gzip
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import paramiko
import requests

from insights_nb.simulator import Simulator

UNTIL = "2026-03-01T12:00:00Z"
RANGE = {"$gte": "2026-02-01T00:00:00Z", "$lte": "2026-03-02T00:00:00Z"}


def query(fields: list[str] | None = None, event: str = "ApplicationExitEvent", **more: Any) -> dict[str, Any]:
    return {"timestamp": RANGE, "data": {event: {"fields": fields or ["SessionId"]}}, **more}


def parsed(text: str) -> list[list[str]]:
    return [row or [""] for row in csv.reader(io.StringIO(text, newline=""))]


class Client:
    """One login at one service, for as long as the ``with`` block lasts."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.settings = simulator.settings
        self.base = self.settings["api_url"] + "/_rest/v4"
        self.session = requests.Session()
        self.session.trust_env = False

    def __enter__(self) -> "Client":
        self.login()
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def login(self) -> None:
        """Take a fresh token for all further calls."""
        pair = {"username": self.settings["username"], "password": self.settings["password"]}
        answer = self.call("POST", "/authenticate", json=pair)
        self.session.headers["Authorization"] = f"Bearer {answer.json()['token']}"

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        """Send one request."""
        return self.session.request(method, self.base + path, timeout=20, allow_redirects=False, **more)

    def post(self, body: Any) -> requests.Response:
        """Submit a query."""
        return self.call("POST", "/dwh/Q", json=body)

    def status(self, guid: str) -> Any:
        """Return the body of a status call."""
        return self.call("GET", f"/dwh/Q/{guid}/status").json()

    def submit(self, body: Any) -> str:
        """Submit a good query and return its id."""
        answer = self.post(body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def finish(self, body: Any) -> str:
        """Submit, wait for the files, and return the report's id."""
        guid = self.submit(body)
        self.simulator.settle()
        return guid

    def paths(self, guid: str) -> list[str]:
        """Return the paths in a report's location."""
        sentence = self.call("GET", f"/dwh/Q/{guid}").json()["status"]
        return re.findall(r"u'([^']*)'", sentence)

    def shards(self, guid: str) -> list[str]:
        """Return the texts of a report's shards, fetched over SFTP."""
        root = self.settings["sftp_root"]
        with self.sftp() as files:
            return [gzip.decompress(fetched(files, f"{root}/{path}".lstrip("/"))).decode() for path in self.paths(guid)]

    def table(self, body: Any) -> list[list[str]]:
        """Return the header and all rows of a report, shards one after the other."""
        tables = [parsed(text) for text in self.shards(self.finish(body))]
        assert all(table[0] == tables[0][0] for table in tables)
        return [tables[0][0], *(row for table in tables for row in table[1:])]

    def frame(self, body: Any) -> pd.DataFrame:
        """Return a report as a frame of texts."""
        header, *rows = self.table(body)
        return pd.DataFrame(rows, columns=header)

    @contextmanager
    def sftp(self, **login: Any) -> Iterator[paramiko.SFTPClient]:
        """Open an SFTP session with the password, or with the proof given."""
        with transport(self.settings) as connection:
            connection.auth_timeout = 10
            proof = login or {"password": self.settings["sftp_password"]}
            connection.connect(username=self.settings["sftp_username"], **proof)
            files = paramiko.SFTPClient.from_transport(connection)
            assert files is not None
            with files:
                channel = files.get_channel()
                assert channel is not None
                channel.settimeout(10)
                yield files


@contextmanager
def transport(settings: dict[str, str]) -> Iterator[paramiko.Transport]:
    connection = paramiko.Transport((settings["sftp_host"], int(settings["sftp_port"])))
    connection.banner_timeout = 5
    try:
        yield connection
    finally:
        connection.close()


def fetched(files: paramiko.SFTPClient, path: str) -> bytes:
    """Return a file's bytes up to its end, without looking at its size."""
    parts = []
    with files.open(path) as file:
        while part := file.read(32_768):
            parts.append(part)
    return b"".join(parts)
