# SPDX-License-Identifier: MIT
"""Servers of storages, each a process that ends with its ``with``."""

from __future__ import annotations

import base64
import fcntl
import getpass
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openpaisdk.storage.base import Storage
from openpaisdk.storage.registry import open_storage
from tests.hadoop.jars import cache_folder
from tests.hadoop.process import free_ports, listens
from tests.processes import until

END_TIMEOUT_S = 30


class StoreMissingError(Exception):
    """A server or the package that speaks to it is not there; the text says which."""


@dataclass(frozen=True)
class Store:
    """Where a storage is, and what opens it."""

    uri: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """As of a storage in ``clusters.json``."""

    def open(self) -> Storage:
        """Open it as a cluster's storage is."""
        return open_storage(self.uri, options=dict(self.options))


def need(*packages: str) -> None:
    """Raise ``StoreMissingError`` when a package is not installed."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise StoreMissingError(f"there is no package {package!r} (make .venv/.stores)")


@contextmanager
def running(log: Path, port: int, *command: str, **variables: str) -> Iterator[None]:
    """Run a server that listens on a port of loopback."""
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command,
            cwd=log.parent,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        until(lambda: listens(port) or process.poll() is not None)
        assert process.poll() is None, f"{command[0]} has ended: {log.read_text()[-3000:]}"
        yield
    finally:
        process.kill()
        process.wait(END_TIMEOUT_S)


@contextmanager
def s3_server(folder: Path) -> Iterator[Store]:
    """S3 by moto."""
    need("s3fs", "moto")
    (port,) = free_ports(1)
    command = (sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port))
    options = {"endpoint_url": f"http://127.0.0.1:{port}", "key": "alice", "secret": "of-this-test-only"}
    with running(folder / "moto.log", port, *command):
        import s3fs

        s3fs.S3FileSystem(**options).mkdir("/models")
        yield Store("s3://models", options)


@contextmanager
def sftp_server(folder: Path) -> Iterator[Store]:
    """SFTP by OpenSSH; who runs the tests logs in with a key."""
    need("fsspec", "paramiko")
    path = f"{os.environ['PATH']}:/usr/sbin"
    sshd = shutil.which("sshd", path=path)
    if sshd is None:
        raise StoreMissingError("there is no 'sshd' (Debian package openssh-server)")
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # else sshd does not start
    (port,) = free_ports(1)
    for key in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)],
            check=True,
            stdin=subprocess.DEVNULL,
        )
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {folder}/user.pub\nStrictModes no\nPasswordAuthentication no\n"
        "Subsystem sftp internal-sftp\n"
    )
    (folder / "files").mkdir()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    options = {"key_filename": str(folder / "user"), "known_hosts": str(folder / "known_hosts")}
    address = f"sftp://{getpass.getuser()}@127.0.0.1:{port}"
    with running(folder / "sshd.log", port, sshd, "-D", "-e", "-f", str(folder / "sshd_config")):
        yield Store(address, options)


AZURITE = "azurite@3"
_AZURITE_ACCOUNT = "devstoreaccount1"


@contextmanager
def azure_server(folder: Path) -> Iterator[Store]:
    """Azure's Blob storage by Azurite."""
    need("adlfs")
    (port,) = free_ports(1)
    key = base64.b64encode(b"of-this-test-only").decode()
    command = [
        str(fetch_azurite()),
        *("--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder / "blobs")),
        *("--silent", "--skipApiVersionCheck", "--disableTelemetry"),
    ]
    variables = {"AZURITE_ACCOUNTS": f"{_AZURITE_ACCOUNT}:{key}"}
    with running(folder / "azurite.log", port, *command, **variables):
        import adlfs

        connection = (
            f"DefaultEndpointsProtocol=http;AccountName={_AZURITE_ACCOUNT};AccountKey={key};"
            f"BlobEndpoint=http://127.0.0.1:{port}/{_AZURITE_ACCOUNT};"
        )
        options = {"account_name": _AZURITE_ACCOUNT, "connection_string": connection}
        adlfs.AzureBlobFileSystem(**options).mkdir("models")
        yield Store("abfs://models", options)


def fetch_azurite() -> Path:
    """Return the program, which npm fetches once into the cache of the tests."""
    npm = shutil.which("npm")
    if npm is None:
        raise StoreMissingError("there is no 'npm' (Debian package npm)")
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / AZURITE
    with open(cache / "azurite.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=cache, prefix="fetching-") as aside:
                command = [npm, "install", "--prefix", f"{aside}/azurite", "--no-audit", "--no-fund", AZURITE]
                done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
                if done.returncode:
                    raise StoreMissingError(f"npm cannot fetch {AZURITE}: {done.stderr[-1000:]}")
                os.rename(f"{aside}/azurite", folder)
    return folder / "node_modules" / ".bin" / "azurite-blob"


@contextmanager
def gs_server(folder: Path) -> Iterator[Store]:
    """Google Cloud Storage by gcp-storage-emulator."""
    need("gcsfs", "gcp_storage_emulator")
    # Else gcsfs asks by gRPC what kind of bucket it is, which the emulator does not speak.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    (port,) = free_ports(1)
    program = [sys.executable, "-m", "gcp_storage_emulator", "start", "--in-memory"]
    command = (*program, "--host", "127.0.0.1", "--port", str(port), "--default-bucket", "models")
    with running(folder / "gs.log", port, *command):
        yield Store("gs://models", {"endpoint_url": f"http://127.0.0.1:{port}", "token": "anon"})
