# SPDX-License-Identifier: MIT
"""Starting a server process, with a small program in the server's place."""

from __future__ import annotations

import json
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


def test_a_server_is_started_with_its_options_and_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = """
import json, os, sys
words = sys.argv[1:]
home = words[words.index("--home") + 1]
server = {"pid": os.getpid(), "uri": "http://127.0.0.1:5", "port": 5, "token": "t", "words": words,
          "session": os.getsid(0) == os.getpid(), "safe": os.environ.get("PYTHONSAFEPATH")}
with open(os.path.join(home, "local", "server.json"), "w") as file:
    json.dump(server, file)
os.write(int(words[words.index("--ready-fd") + 1]), b"ready")
"""
    start_with(monkeypatch, tmp_path, program)
    server = embedded.ensure_running({"cpu": 4, "gpu": None}, home=str(tmp_path))
    assert server["words"][:3] == ["-m", "openpaisdk.local", "serve"]
    assert server["session"]
    assert server["safe"] == "1"
    assert json.loads((tmp_path / "local" / "config.json").read_text()) == {"cpu": 4}
    assert embedded.wait_gone(server["pid"], 30)
    assert not embedded.may_run(server)


def test_a_server_that_gives_up_is_reported_with_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "server.log").write_text("an earlier run\n")
    start_with(monkeypatch, tmp_path, "import sys\nsys.exit('port 80 is not for you')\n")
    with pytest.raises(LocalClusterError, match="port 80 is not for you") as caught:
        embedded.ensure_running(home=str(tmp_path))
    assert "earlier" not in caught.value.message
    assert "server.log" in str(caught.value.hint)


def test_a_server_that_leaves_no_file_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start_with(monkeypatch, tmp_path, "import os, sys\nos.write(int(sys.argv[-1]), b'1')\n")
    with pytest.raises(LocalClusterError, match=r"server\.json"):
        embedded.ensure_running(home=str(tmp_path))
