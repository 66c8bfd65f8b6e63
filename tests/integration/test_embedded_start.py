# SPDX-License-Identifier: MIT
"""Starting a server process, with a small program in the server's place."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from openpaisdk import embedded
from openpaisdk.errors import LocalClusterError

pytestmark = pytest.mark.integration


def start_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str) -> None:
    """Let a small program stand for the server; it gets the words that the server would get."""
    script = tmp_path / "server"
    script.write_text(f"#!{sys.executable} -S\n{program}")
    script.chmod(0o700)
    monkeypatch.setattr(embedded.sys, "executable", str(script))


SERVER = """
import json, os, sys
words = sys.argv[1:]
server = {"pid": os.getpid(), "uri": "http://127.0.0.1:5", "port": 5, "token": "t", "words": words,
          "session": os.getsid(0) == os.getpid(), "safe": os.environ.get("PYTHONSAFEPATH")}
with open(os.path.join(words[words.index("--home") + 1], "server.json"), "w") as file:
    json.dump(server, file)
os.write(int(words[words.index("--ready-fd") + 1]), json.dumps(server).encode() + b"\\n")
"""


def test_a_server_is_started_with_its_options_and_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_with(monkeypatch, tmp_path, SERVER)
    options = {
        "cpu": 4,
        "gpu": None,
        "memory_mb": 4096,
        "pass_env": ["A", "B"],
        "virtual_clusters": {"vc1": [1, 0, 512]},
    }
    server = embedded.ensure_running(options, home=str(tmp_path))
    words = server["words"]
    assert words[:5] == ["-m", "openpaisdk.local", "serve", "--home", str(tmp_path / "local")]
    assert words[7:] == [
        "--cpu",
        "4",
        "--mem",
        "4096",
        "--pass-env",
        "A",
        "--pass-env",
        "B",
        "--vc",
        "vc1=1:0:512",
    ]
    assert (server["session"], server["safe"]) == (True, "1")
    assert embedded.wait_gone(server["pid"], 30)
    assert not embedded.may_run(server)


def test_what_a_server_says_when_it_gives_up_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    word = b'{"error": "port 80 is not for you", "code": "LocalCluster", "hint": "take another"}\n'
    start_with(monkeypatch, tmp_path, f"import os, sys\nos.write(int(sys.argv[-1]), {word!r})\n")
    with pytest.raises(LocalClusterError, match="port 80 is not for you") as caught:
        embedded.ensure_running(home=str(tmp_path))
    assert caught.value.hint == "take another"


def test_a_server_that_is_about_to_end_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    once = tmp_path / "refused"
    refusal = b'{"error": "another server runs", "code": "AlreadyRunning"}\n'
    program = f"""
import os, sys
if not os.path.exists({str(once)!r}):
    open({str(once)!r}, "w").close()
    os.write(int(sys.argv[-1]), {refusal!r})
    sys.exit(1)
"""
    start_with(monkeypatch, tmp_path, program + SERVER)
    assert embedded.ensure_running(home=str(tmp_path))["port"] == 5


def test_a_server_that_breaks_is_reported_with_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "server.log").write_text("an earlier run\n")
    start_with(monkeypatch, tmp_path, "import sys\nsys.exit('no memory left')\n")
    with pytest.raises(LocalClusterError, match="no memory left") as caught:
        embedded.ensure_running(home=str(tmp_path))
    assert "earlier" not in caught.value.message
    assert "server.log" in str(caught.value.hint)


def test_a_server_that_is_killed_before_it_answers_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = tmp_path / "killed"
    program = f"""
import os, signal
if not os.path.exists({str(once)!r}):
    open({str(once)!r}, "w").close()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    start_with(monkeypatch, tmp_path, program + SERVER)
    assert embedded.ensure_running(home=str(tmp_path))["port"] == 5


def test_a_server_whose_end_another_thread_was_told_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = tmp_path / "killed"
    program = f"""
import os, signal
if not os.path.exists({str(once)!r}):
    open({str(once)!r}, "w").close()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    start_with(monkeypatch, tmp_path, program + SERVER)
    real_wait = os.waitpid

    def reaped_already(pid: int, options: int) -> tuple[int, int]:
        if options == 0:
            real_wait(pid, 0)  # by the other thread
        return real_wait(pid, options)

    monkeypatch.setattr(os, "waitpid", reaped_already)
    assert embedded.ensure_running(home=str(tmp_path))["port"] == 5


def test_a_server_that_is_killed_at_each_start_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = tmp_path / "starts"
    program = f"""
import os, signal
open({str(starts)!r}, "a").write("x")
os.kill(os.getpid(), signal.SIGKILL)
"""
    start_with(monkeypatch, tmp_path, program)
    with pytest.raises(LocalClusterError, match="does not start"):
        embedded.ensure_running(home=str(tmp_path))
    assert starts.read_text() == "xxxxx"


def test_a_server_that_does_not_say_a_word_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "START_TIMEOUT_S", 0.2)
    monkeypatch.setattr(embedded, "_started", [])
    start_with(monkeypatch, tmp_path, "import time\ntime.sleep(30)\n")
    with pytest.raises(LocalClusterError, match=r"did not start within 0\.2 s"):
        embedded.ensure_running(home=str(tmp_path))
    [pid] = embedded._started
    os.kill(pid, signal.SIGKILL)
    assert embedded.wait_gone(pid, 30)
