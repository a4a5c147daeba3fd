"""An object storage of the tests' own: SeaweedFS, which speaks S3, on ports of the loopback."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import requests

from tests.ports import free_port
from tests.tools import missing

ACCESS_KEY = "key-id-of-the-tests"
SECRET_KEY = "s3cret-of-the-tests"

#: Only guard against hanging; on a busy machine it needs far longer than its few seconds.
_START_S = 120
_ANSWER_S = 60
_PORTS = ("master", "volume", "filer", "s3")
_TOOLS = Path(__file__).parents[1] / ".venv" / "tools"


def weed():
    """The program; says that the test is skipped where it is not installed."""
    found = sorted(_TOOLS.glob("seaweedfs-*/bin/weed"))
    program = found[-1] if found else shutil.which("weed")
    if program is None:
        missing("SeaweedFS (tests/tools.sh)")
    return program


class ObjectStorage:
    """A storage that can be stopped and started again, with what it holds."""

    def __init__(self, folder):
        self._folder = folder
        names = (*_PORTS, *(f"{each}.grpc" for each in _PORTS))
        self._ports = {name: free_port() for name in names}
        self._process = None
        self.endpoint = f"http://127.0.0.1:{self._ports['s3']}"
        #: What a client of it has in its environment.
        self.environment = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
        }

    def start(self):
        key = {"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}
        identity = {
            "name": "tests",
            "credentials": [key],
            "actions": ["Read", "Write", "List", "Tagging"],
        }
        (self._folder / "data").mkdir(exist_ok=True)
        (self._folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        options = {
            "dir": self._folder / "data",
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "master.electionTimeout": "1s",
            "master.volumeSizeLimitMB": 64,
            "volume.max": 300,
            "s3.config": self._folder / "s3.json",
            "s3.iam": "false",
            "s3.autoCreateBucket": "false",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
        }
        for name, port in self._ports.items():
            part, _, grpc = name.partition(".")
            options[f"{part}.port.{grpc}" if grpc else f"{part}.port"] = port
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(weed(), "-logtostderr", "server", "-s3"),
                    *(f"-{name}={value}" for name, value in options.items()),
                ],
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd=self._folder,
            )
        deadline_s = time.monotonic() + _START_S
        while self._status("GET", self.endpoint) is None or not self._is_writable():
            if time.monotonic() > deadline_s or self._process.poll() is not None:
                raise RuntimeError((self._folder / "log").read_text()[-4000:])
            time.sleep(0.1)

    def stop(self):
        """Kills it: asked to end, it takes a quarter of a minute."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def new_bucket(self, name):
        """The URL of an empty bucket."""
        assert self._status("POST", self._filer(f"buckets/{name}/")) == 201
        return f"s3://{name}"

    def forget(self, bucket, name):
        """Deletes an object behind everybody's back."""
        assert self._status("DELETE", self._filer(f"buckets/{bucket}/{name}")) == 204

    def objects(self, bucket, folder=""):
        """What a bucket holds, by name, as the storage itself says."""
        found = {}
        reply = requests.get(
            self._filer(f"buckets/{bucket}/{folder}"),
            params={"limit": 10_000},
            headers={"Accept": "application/json"},
            timeout=_ANSWER_S,
        )
        for entry in reply.json()["Entries"] or () if reply.status_code == 200 else ():
            path = entry["FullPath"].removeprefix(f"/buckets/{bucket}/")
            if entry["Mode"] >> 31:  # a folder
                found |= self.objects(bucket, f"{path}/")
            else:
                content = requests.get(self._filer(f"buckets/{bucket}/{path}"), timeout=_ANSWER_S)
                found[path] = content.content
        return found

    def _is_writable(self):
        """Whether a volume has been found for what comes."""
        return self._status("PUT", self._filer("ready"), data=b"ready") == 201

    def _filer(self, path):
        return f"http://127.0.0.1:{self._ports['filer']}/{path}"

    @staticmethod
    def _status(method, url, **options):
        try:
            return requests.request(method, url, timeout=_ANSWER_S, **options).status_code
        except requests.RequestException:
            return None


@contextmanager
def object_storage(folder):
    """A storage that runs for as long as the block lasts."""
    storage = ObjectStorage(folder)
    try:
        storage.start()
        yield storage
    finally:
        storage.stop()
