# SPDX-License-Identifier: MIT
"""Logs of any size and content, from the task that writes to clients that read slowly or not at all."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from openpaisdk.local.jobs.holes import give_back
from openpaisdk.local.jobs.logs import PART_BYTES_VARIABLE
from openpaisdk.local.jobs.watch import PORTABLE_VARIABLE

pytestmark = pytest.mark.integration

TIMEOUT_S = 60
PART = 1 << 18
PYTHON = sys.executable


def logs_path(server: Any, name: str) -> str:
    job = f"{server.user}~{name}"
    return f"/api/v2/jobs/{job}/attempts/0/taskRoles/worker/taskIndex/0/attempts/0/logs"


def locations(server: Any, name: str, query: str = "") -> dict[str, str]:
    found = server.get(logs_path(server, name) + query).json()["locations"]
    return {place["name"]: place["uri"] for place in found}


def get(server: Any, uri: str, method: str = "GET", **headers: str) -> requests.Response:
    return requests.request(method, server.uri + uri, headers=headers, timeout=TIMEOUT_S)


def memory_kb(server: Any, kind: str = "VmHWM") -> int:
    for line in Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(kind):
            return int(line.split()[1])
    raise AssertionError(f"no {kind}")


def data_of(event: dict[str, Any]) -> bytes:
    return base64.b64decode(event["base64"]) if "base64" in event else event["text"].encode()


class FollowerSocket:
    """Follows a job over a plain connection, and reads only when it is told to."""

    def __init__(self, server: Any, name: str, **options: object) -> None:
        host, _, port = server.uri.removeprefix("http://").partition(":")
        query = "".join(f"&{key}={value}" for key, value in options.items())
        self.socket = socket.create_connection((host, int(port)), TIMEOUT_S)
        self.socket.sendall(
            f"GET /local/v1/follow?job={server.user}~{name}{query} HTTP/1.1\r\nHost: {host}:{port}\r\n"
            f"Authorization: Bearer {server.token}\r\n\r\n".encode()
        )
        self._rest = b""

    def read(self) -> list[dict[str, Any]]:
        """Return the events that come next, at least the beginning of one."""
        piece = self.socket.recv(1 << 16)
        assert piece, "the stream broke off"
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return [json.loads(line) for line in lines if line.startswith(b"{")]

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield the events up to the end."""
        while True:
            for event in self.read():
                yield event
                if event["type"] == "end":
                    self.socket.close()
                    return

    def data(self) -> bytes:
        """Return all that the tasks wrote."""
        return b"".join(data_of(event) for event in self.events() if event["type"] == "log")


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PART_BYTES_VARIABLE, str(PART))


# --- rotation ---------------------------------------------------------------------------------
@pytest.mark.usefixtures("small_parts")
def test_of_a_large_log_the_last_two_parts_are_served(start_server: Callable[..., Any]) -> None:
    server = start_server()
    assert server.run("large", "seq 1 300000")["state"] == "SUCCEEDED"
    wrote = "".join(f"{number}\n" for number in range(1, 300_001)).encode()
    begin = (len(wrote) - 1) // PART * PART
    places = locations(server, "large")
    assert {"stdout", "stdout.1", "stderr", "all", "all.1", "runtime.log"} == set(places)
    for name in ("stdout", "all"):
        assert get(server, places[name]).content == wrote[begin:]
        older = get(server, places[f"{name}.1"])
        assert older.content == wrote[begin - PART : begin]
        assert older.headers["content-disposition"] == f'attachment; filename="{name}.1"'
        part = get(server, places[f"{name}.1"], range="bytes=7-19")
        assert (part.status_code, part.content) == (206, older.content[7:20])
        assert part.headers["content-range"] == f"bytes 7-19/{PART}"
        tail = get(server, locations(server, "large", "?tail-mode=true")[f"{name}.1"])
        assert (tail.status_code, tail.content) == (206, older.content[-16384:])
        assert tail.headers["content-range"] == f"bytes {PART - 16384}-{PART - 1}/{PART}"


@pytest.mark.usefixtures("small_parts")
def test_a_task_that_prints_without_end_does_not_fill_the_disk(
    start_server: Callable[..., Any], tmp_path: Path
) -> None:
    server = start_server()
    server.submit(server.document("endless", "seq 1 999999999 & seq 1 999999999 >&2 & wait"))
    files: list[Path] = []
    while len(files) < 2 or min(file.stat().st_size for file in files) < 20 * PART:
        files = list((tmp_path / "local" / "tasks").glob("*/std*"))
        time.sleep(0.01)
    server.stop("kill")
    probe = tmp_path / "probe"
    probe.write_bytes(b"x" * PART)
    if give_back(str(probe), PART):
        assert max(file.stat().st_blocks * 512 for file in files) <= 2 * PART + 4096


@pytest.mark.usefixtures("small_parts")
def test_a_follower_that_falls_behind_is_told_how_much_it_missed(
    start_server: Callable[..., Any], tmp_path: Path
) -> None:
    server = start_server()
    fifo = tmp_path / "go"
    os.mkfifo(fifo)
    server.submit(server.document("fast", f"read -r _ < {fifo}; seq 1 6000000"))
    follower = FollowerSocket(server, "fast", after="0")
    events = follower.events()
    assert next(events)["type"] == "begin"
    fifo.write_text("go\n", encoding="ascii")
    server.wait("fast")
    wrote = "".join(f"{number}\n" for number in range(1, 6_000_001)).encode()
    position = notes = 0
    for event in events:
        if event["type"] == "log":
            data = data_of(event)
            assert wrote[position : event["end"]] == data
            position = event["end"]
        elif "are not shown" in event.get("text", ""):
            assert int(event["text"].partition(" ")[0]) == event["end"] - position
            position = event["end"]
            notes += 1
    assert position == len(wrote)
    assert notes > 0


@pytest.mark.usefixtures("small_parts")
def test_places_in_a_log_stay_true_over_a_crash_during_which_it_rotates(
    start_server: Callable[..., Any], tmp_path: Path
) -> None:
    server = start_server()
    fifo = tmp_path / "go"
    os.mkfifo(fifo)
    server.submit(
        server.document("crash", f"seq 1 50000; read -r _ < {fifo}; seq 50001 400000; read -r _ < {fifo}")
    )
    wrote = "".join(f"{number}\n" for number in range(1, 400_001)).encode()
    follower = FollowerSocket(server, "crash", after="0")
    place = 0
    while place < len(wrote) and not wrote[:place].endswith(b"\n50000\n"):
        place = max([place, *(event["end"] for event in follower.read() if "end" in event)])
    follower.socket.close()
    server.process.kill()
    server.process.wait(TIMEOUT_S)
    fifo.write_text("go\n", encoding="ascii")
    (stdout,) = (tmp_path / "local" / "tasks").glob("*/stdout")
    while stdout.stat().st_size < len(wrote):
        time.sleep(0.01)
    server = start_server()
    again = FollowerSocket(server, "crash", after=f"0,worker.0.0.{place}")
    events = [event for event in iter_until(again, len(wrote)) if event["type"] in ("note", "log")]
    begin = ((len(wrote) - 1) // PART - 1) * PART
    assert [event["end"] for event in events if event["type"] == "note"] == [begin]
    assert b"".join(data_of(event) for event in events if event["type"] == "log") == wrote[begin:]
    assert get(server, locations(server, "crash")["all.1"]).content == wrote[begin : begin + PART]
    fifo.write_text("end\n", encoding="ascii")
    assert [event["type"] for event in again.events()][-1] == "end"


def iter_until(follower: FollowerSocket, end: int) -> Iterator[dict[str, Any]]:
    """Yield events up to the one that ends at this byte of the log."""
    place = 0
    while place < end:
        for event in follower.read():
            place = event.get("end", place)
            yield event


# --- size -------------------------------------------------------------------------------------
def test_a_task_that_prints_much_costs_the_server_no_memory(start_server: Callable[..., Any]) -> None:
    server = start_server()
    server.run("warm-up", "echo hello; echo hello >&2")
    assert get(server, locations(server, "warm-up")["all"]).status_code == 200
    FollowerSocket(server, "warm-up").data()
    before = memory_kb(server)
    size = 300_000_000
    server.submit(server.document("much", f"yes 'some text on a line' | head -c {size}"))
    mute, slow = FollowerSocket(server, "much"), FollowerSocket(server, "much")
    seen = 0
    for event in slow.events():
        seen += len(data_of(event)) if event["type"] == "log" else 0
    assert seen == size
    digest = hashlib.sha256()
    places = locations(server, "much")
    for name in ("stdout.1", "stdout"):
        with requests.get(server.uri + places[name], stream=True, timeout=TIMEOUT_S) as answer:
            for piece in answer.iter_content(1 << 20):
                digest.update(piece)
    mute.socket.close()
    line = b"some text on a line\n"
    assert digest.digest() == hashlib.sha256(line * (size // len(line))).digest()
    assert memory_kb(server) - before < 16 * 1024


def test_a_line_without_end_costs_the_server_no_memory(start_server: Callable[..., Any]) -> None:
    server = start_server()
    server.run("warm-up", "echo hello")
    FollowerSocket(server, "warm-up").data()
    before = memory_kb(server)
    server.submit(server.document("line", "head -c 100000000 /dev/zero"))
    count = 0
    for event in FollowerSocket(server, "line").events():
        if event["type"] == "log":
            data = data_of(event)
            assert not data.strip(b"\0")
            count += len(data)
    assert count == 100_000_000
    end = [event for event in FollowerSocket(server, "line", tail=1).events() if event["type"] == "log"]
    assert sum(len(data_of(event)) for event in end) == 100_000_000
    assert memory_kb(server) - before < 16 * 1024


def test_a_hundred_followers_of_one_log_all_see_every_line(start_server: Callable[..., Any]) -> None:
    server = start_server()
    lines, count = 2000, 100
    server.submit(
        server.document("shared", f"for i in $(seq 1 {lines}); do echo $i; ((i % 20)) || sleep 0.01; done")
    )
    followers = [FollowerSocket(server, "shared") for _ in range(count)]
    texts = dict.fromkeys(followers, "")
    with selectors.DefaultSelector() as selector:
        for follower in followers:
            selector.register(follower.socket, selectors.EVENT_READ, follower)
        while selector.get_map():
            for key, _ in selector.select(TIMEOUT_S):
                for event in key.data.read():
                    if event["type"] == "log":
                        texts[key.data] += event["text"]
                    elif event["type"] == "end":
                        selector.unregister(key.data.socket)
                        key.data.socket.close()
    assert set(texts.values()) == {"".join(f"{number}\n" for number in range(1, lines + 1))}
    assert memory_kb(server) < 80 * 1024


@pytest.mark.parametrize("portable", ["", "1"])
def test_no_write_is_ever_missed_by_those_who_wait(
    start_server: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, portable: str
) -> None:
    monkeypatch.setenv(PORTABLE_VARIABLE, portable)
    server = start_server()
    fifo = tmp_path / "words"
    os.mkfifo(fifo)
    server.submit(server.document("echo", f"while read -r word; do echo $word; done < {fifo}"))
    followers = [FollowerSocket(server, "echo") for _ in range(3)]
    with open(fifo, "w", encoding="ascii") as words:
        for number in range(10 if portable else 300):
            words.write(f"{number}\n")
            words.flush()
            for follower in followers:  # the next word is not said before all have heard this one
                heard = ""
                while heard != f"{number}\n":
                    heard += "".join(event["text"] for event in follower.read() if event["type"] == "log")
    for follower in followers:
        assert follower.data() == b""


# --- content ----------------------------------------------------------------------------------
def random_bytes(count: int) -> bytes:
    """Return bytes of all kinds: characters of all lengths, halves of them, NUL, and ends of lines, few."""
    words = ["a line\n", "ü", "€", "𐍈", "\0", "50 %\r", "\x1b[1m", "\u2028", "\\", '"', "x" * 300]
    pieces = [word.encode() for word in words] + [bytes([value]) for value in (0x80, 0xC3, 0xE2, 0xF0, 0xFF)]
    state, result = 1, bytearray()
    while len(result) < count:
        state = state * 48271 % 0x7FFFFFFF
        result += pieces[state % len(pieces)]
    return bytes(result[:count])


@pytest.mark.usefixtures("small_parts")
def test_every_byte_comes_through_on_every_way(start_server: Callable[..., Any], tmp_path: Path) -> None:
    server = start_server("--cpu", "8", home=tmp_path / "local")
    content = random_bytes(PART + PART // 2)
    source = tmp_path / "content"
    source.write_bytes(content)
    write = f"""import os
data = open({str(source)!r}, "rb").read()
position, step = 0, 1
while position < len(data):
    os.write(1, data[position : position + step])
    position, step = position + step, step * 7 % 4099
"""
    script = tmp_path / "write.py"
    script.write_text(write, encoding="ascii")
    server.submit(server.document("bytes", f"{PYTHON} {script}"))
    assert FollowerSocket(server, "bytes").data() == content
    assert FollowerSocket(server, "bytes", stream="stdout").data() == content
    places = locations(server, "bytes")
    for name in ("stdout", "all"):
        assert get(server, places[f"{name}.1"]).content + get(server, places[name]).content == content
    environment = {**os.environ, "OPENPAI_HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    for words in (["logs", "bytes"], ["logs", "bytes", "-f"], ["logs", "bytes", "--stdout"]):
        with open(tmp_path / "shown", "wb") as shown:
            command = [PYTHON, "-m", "openpaisdk", "job", *words]
            subprocess.run(command, env=environment, stdout=shown, check=True, timeout=TIMEOUT_S)
        assert (tmp_path / "shown").read_bytes() == content
    program = (
        "import sys; from openpaisdk.core import Cluster\n"
        "text = Cluster.from_alias('local').logs('bytes')\n"
        "sys.stdout.buffer.write(text.encode('utf-8', 'surrogateescape'))"
    )
    done = subprocess.run(
        [PYTHON, "-c", program], env=environment, capture_output=True, check=True, timeout=TIMEOUT_S
    )
    assert done.stdout == content


# --- addresses of logs ------------------------------------------------------------------------
@pytest.fixture(scope="module")
def ended(local_server: Any) -> Any:
    assert local_server.run("ended", "echo 0123456789")["state"] == "SUCCEEDED"
    return local_server


@pytest.mark.parametrize(
    ("wanted", "status", "text", "place"),
    [
        ("bytes=0-", 206, "0123456789\n", "bytes 0-10/11"),
        ("bytes=3-4", 206, "34", "bytes 3-4/11"),
        ("bytes=3-99", 206, "3456789\n", "bytes 3-10/11"),
        ("bytes=-5", 206, "6789\n", "bytes 6-10/11"),
        ("bytes=-99", 206, "0123456789\n", "bytes 0-10/11"),
        ("Bytes=10-10", 206, "\n", "bytes 10-10/11"),
        ("bytes=11-", 416, "", "bytes */11"),
        ("bytes=-0", 416, "", "bytes */11"),
        ("bytes=0-1,4-5", 200, "0123456789\n", None),
        ("bytes=5-3", 200, "0123456789\n", None),
        ("bytes=x-3", 200, "0123456789\n", None),
        ("bytes=-", 200, "0123456789\n", None),
        ("lines=0-1", 200, "0123456789\n", None),
    ],
)
def test_ranges_of_all_forms(ended: Any, wanted: str, status: int, text: str, place: str | None) -> None:
    answer = get(ended, locations(ended, "ended")["stdout"], range=wanted)
    assert (answer.status_code, answer.text, answer.headers.get("content-range")) == (status, text, place)


def test_a_range_with_a_condition_gets_the_whole_log(ended: Any) -> None:
    uri = locations(ended, "ended")["stdout"]
    answer = get(ended, uri, **{"range": "bytes=0-1", "if-range": '"x"'})
    assert (answer.status_code, answer.text) == (200, "0123456789\n")


def test_the_head_of_a_log_says_how_long_it_is(ended: Any) -> None:
    answer = get(ended, locations(ended, "ended")["stdout"], "HEAD", range="bytes=0-1")
    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "11", b"")


def test_an_empty_log_has_no_ranges(ended: Any) -> None:
    uri = locations(ended, "ended")["stderr"]
    assert get(ended, uri).content == b""
    assert get(ended, uri, range="bytes=0-").status_code == 416


def test_addresses_are_refused_in_the_log_managers_order(ended: Any) -> None:
    uri = locations(ended, "ended")["stdout"]
    path, _, query = uri.partition("?")
    parameters = dict(word.split("=", 1) for word in query.split("&"))
    assert set(parameters) == {"username", "framework-name", "pod-uid", "taskrole", "token"}

    def status(name: str = "user-stdout", **changes: str | None) -> int:
        values = {**parameters, **{key.replace("_", "-"): value for key, value in changes.items()}}
        text = "&".join(f"{key}={value}" for key, value in values.items() if value is not None)
        return get(ended, f"{path.rpartition('/')[0]}/{name}?{text}").status_code

    assert status() == 200
    assert status("runtime.log") == 200
    assert status(token=None) == status(token="") == status(token="x", username=None) == 403
    assert status(pod_uid="0" * 36) == 403
    for missing in ("username", "framework_name", "pod_uid", "taskrole"):
        assert status(**{missing: None}) == 400
    assert status(taskrole="other") == 404
    for name in (
        "user-nope",
        "stdout",
        "user-runtime.log",
        "user-stdout.1",
        "user-stdout.2",
        "lock",
        "user-",
    ):
        assert status(name) == 404
