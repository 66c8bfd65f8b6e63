# SPDX-License-Identifier: MIT
"""A full or read-only disk: what cannot be taken is refused and said, what was taken is kept and goes on."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.processes import lines_of, until

pytestmark = pytest.mark.integration


class Disk:
    """A small disk of its own that only processes started ``inside`` see; ends with ``close``.

    Args:
        folder: Where it is mounted.
        options: Of its file system, such as ``size=8m``.
    """

    def __init__(self, folder: Path, options: str) -> None:
        folder.mkdir()
        self.folder = folder
        script = 'mount -t tmpfs -o "$1" tmpfs "$2" && echo ready && exec sleep 3600'
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script, "disk", options, str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stderr is not None
        if self._holder.stdout.readline() != b"ready\n":
            reason = self._holder.stderr.read().decode()
            self.close()
            pytest.skip(f"a disk cannot be mounted here: {reason}")

    @property
    def inside(self) -> list[str]:
        return ["nsenter", f"--target={self._holder.pid}", "--mount", "--"]

    def seen(self, path: Path) -> Path:
        """Return a path of the disk as it is reached from outside."""
        return Path(f"/proc/{self._holder.pid}/root{path}")

    def run(
        self, *command: str, check: bool = False, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self.inside, *command], text=True, capture_output=True, check=check, env=env)

    def fill(self) -> None:
        with open(self.seen(self.folder / "filler"), "wb", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError):
                    while file.write(b"x" * size):
                        pass

    def use_up_inodes(self) -> None:
        number = 0
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            while True:
                number += 1
                self.seen(self.folder / f"filler-{number}").touch(exist_ok=False)

    def make_room(self) -> None:
        for path in self.seen(self.folder).glob("filler*"):
            path.unlink()

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait(30)
        for stream in (self._holder.stdout, self._holder.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def make_disk(tmp_path: Path) -> Iterator[Callable[[str], Disk]]:
    disks = []

    def make(options: str) -> Disk:
        disk = Disk(tmp_path / "disk", options)
        disks.append(disk)
        return disk

    yield make
    for disk in disks:
        disk.close()


def state_of(server, name):
    return server.get(f"/api/v2/jobs/{server.user}~{name}")


def submit_until_refused(server, go: Path, runs: Path) -> tuple[list[str], object]:
    """Submit jobs on a full disk: its log may have room for a few, which are as good as any."""
    accepted = []
    for number in range(500):
        name = f"late-{number}"
        answer = server.submit(server.document(name, f"echo {name} >> {runs}"))
        if answer.status_code != 202:
            return accepted, answer
        accepted.append(name)
    raise AssertionError("the disk never was full")


def test_a_full_disk_refuses_submissions_and_loses_nothing_accepted(
    make_disk, start_server, tmp_path
) -> None:
    disk = make_disk("size=6m")
    home = disk.folder / "local"
    server = start_server("--cpu", "1", home=home, inside=disk.inside)
    go, runs = tmp_path / "go", tmp_path / "runs"
    waits = f"echo running >> {runs}; while [ ! -e {go} ]; do sleep 0.02; done; exit 3"
    assert server.submit(server.document("running", waits)).status_code == 202
    assert server.submit(server.document("waiting", f"echo waiting >> {runs}")).status_code == 202
    until(lambda: "running" in lines_of(runs))
    disk.fill()

    accepted, refused = submit_until_refused(server, go, runs)
    name = f"late-{len(accepted)}"
    assert refused.status_code == 500
    assert refused.json()["code"] == "UnknownError"
    assert "full" in refused.json()["message"]
    assert state_of(server, name).status_code == 404
    secret = server.submit(server.document("secret", "true", secrets={"word": "hidden"}))
    assert secret.status_code == 500
    assert os.listdir(disk.seen(home / "secrets")) == []

    go.touch()  # the running task ends, and the waiting one cannot start, while nothing can be written
    assert server.wait("running")["jobs"][f"{server.user}~running"]["user_exit_code"] == 3
    assert server.wait("waiting", timeout_s=1)["done"] is False
    disk.make_room()
    names = ["running", "waiting", *accepted]
    ended = server.wait(*names)["jobs"]
    codes = {name: ended[f"{server.user}~{name}"]["user_exit_code"] for name in names}
    assert codes == {"running": 3, "waiting": 0, **dict.fromkeys(accepted, 0)}
    assert sorted(runs.read_text().split()) == sorted(names)
    assert server.submit(server.document(name, "true")).status_code == 202
    assert server.wait(name)["jobs"][f"{server.user}~{name}"]["state"] == "SUCCEEDED"
    assert server.process.poll() is None


def test_the_end_of_a_task_is_known_though_no_server_ran_and_the_disk_was_full(
    make_disk, start_server, tmp_path
) -> None:
    disk = make_disk("size=6m")
    home = disk.folder / "local"
    server = start_server("--cpu", "1", home=home, inside=disk.inside)
    go, runs, over = tmp_path / "go", tmp_path / "runs", tmp_path / "over"
    waits = f"echo running >> {runs}; while [ ! -e {go} ]; do sleep 0.02; done; echo over >> {over}; exit 3"
    assert server.submit(server.document("running", waits)).status_code == 202
    until(lambda: "running" in lines_of(runs))
    server.kill()
    disk.fill()
    go.touch()
    until(lambda: "over" in lines_of(over))
    full = start_server(home=home, inside=disk.inside)
    assert "No space left" in full.ready["error"]
    assert full.process.wait(30) == 1
    disk.make_room()
    again = start_server(home=home, inside=disk.inside)
    ended = again.wait("running")["jobs"][f"{again.user}~running"]
    assert (ended["state"], ended["user_exit_code"]) == ("FAILED", 3)
    assert runs.read_text() == "running\n"


def test_without_inodes_jobs_wait_and_secrets_are_refused(make_disk, start_server, tmp_path) -> None:
    disk = make_disk("size=16m,nr_inodes=120")
    home = disk.folder / "local"
    server = start_server("--cpu", "1", home=home, inside=disk.inside)
    assert server.run("first", "true")["state"] == "SUCCEEDED"
    disk.use_up_inodes()
    assert server.submit(server.document("waits", "exit 4")).status_code == 202
    refused = server.submit(server.document("secret", "true", secrets={"word": "hidden"}))
    assert refused.status_code == 500
    assert "No space left" in refused.json()["message"]
    assert state_of(server, "secret").status_code == 404
    assert server.wait("waits", timeout_s=1)["done"] is False
    disk.make_room()
    assert server.wait("waits")["jobs"][f"{server.user}~waits"]["user_exit_code"] == 4
    assert server.run("secret", "true", secrets={"word": "hidden"})["state"] == "SUCCEEDED"


def test_a_task_that_fills_the_disk_sees_it_and_the_server_lives(make_disk, start_server) -> None:
    disk = make_disk("size=6m")
    server = start_server("--cpu", "1", home=disk.folder / "local", inside=disk.inside)
    fills = 'head -c 64000000 /dev/zero > big; code=$?; rm big; echo "saw $code"; exit $code'
    ended = server.run("fills", f"set +e; {fills}")
    assert ended["user_exit_code"] == 1
    assert server.run("chatty", "set +e; head -c 64000000 /dev/zero; exit 5")["user_exit_code"] == 5
    # Its log has filled the disk for good, but the end of its job was accepted work: it is written later.
    assert server.process.poll() is None
    assert state_of(server, "chatty").status_code == 200


def test_a_read_only_home_is_said_and_nothing_starts(make_disk, start_server, tmp_path) -> None:
    disk = make_disk("size=16m")
    home = disk.folder / "local"
    assert start_server(home=home, inside=disk.inside).stop() == 0
    assert disk.run("mount", "-o", "remount,ro", str(disk.folder)).returncode == 0
    server = start_server(home=home, inside=disk.inside)
    assert "Read-only file system" in server.ready["error"]
    assert server.process.wait(30) == 1
    environment = {
        **os.environ,
        "OPENPAI_HOME": str(disk.folder),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    started = disk.run(sys.executable, "-m", "openpaisdk", "local", "start", env=environment)
    assert started.returncode == 1
    assert "cannot write its folder" in started.stderr
    assert "Read-only file system" in started.stderr
    assert "Traceback" not in started.stderr


def test_a_job_waits_while_its_folder_is_read_only(make_disk, start_server) -> None:
    disk = make_disk("size=16m")
    home = disk.folder / "local"
    server = start_server(home=home, inside=disk.inside)
    tasks = str(home / "tasks")
    disk.run("mount", "--bind", tasks, tasks, check=True)
    disk.run("mount", "-o", "remount,bind,ro", tasks, check=True)
    assert server.submit(server.document("waits", "exit 4")).status_code == 202
    assert server.wait("waits", timeout_s=1)["done"] is False
    disk.run("mount", "-o", "remount,bind,rw", tasks, check=True)
    assert server.wait("waits")["jobs"][f"{server.user}~waits"]["user_exit_code"] == 4
