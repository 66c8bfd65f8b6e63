# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from openpaisdk import embedded
from openpaisdk.errors import ConfigError, LocalClusterError, MissingExtraError

NO_SUCH_PID = 2**22 + 1


def write(home: Path, **values: Any) -> dict[str, Any]:
    server = {
        "pid": os.getpid(),
        "uri": "http://127.0.0.1:5",
        "port": 5,
        "token": "t",
        "version": "9",
        **values,
    }
    (home / "local").mkdir(exist_ok=True)
    (home / "local" / "server.json").write_text(json.dumps(server))
    return server


def test_before_the_first_start_there_is_no_server_file(tmp_path: Path) -> None:
    assert embedded.read_server_file(str(tmp_path)) is None
    status = embedded.status(str(tmp_path))
    assert (status["running"], status["pid"], status["uri"]) == (False, None, None)
    assert status["home"] == str(tmp_path / "local")


def test_the_server_file_is_read(tmp_path: Path) -> None:
    assert embedded.read_server_file(str(tmp_path)) is None
    server = write(tmp_path)
    assert embedded.read_server_file(str(tmp_path)) == server


def test_a_damaged_server_file_counts_as_none_and_one_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    write(tmp_path)
    file = tmp_path / "local" / "server.json"
    file.write_text("{")
    assert embedded.read_server_file(str(tmp_path)) is None
    file.unlink()
    file.mkdir()
    with pytest.raises(ConfigError):
        embedded.read_server_file(str(tmp_path))


def test_a_server_may_run_only_while_its_process_lives() -> None:
    assert embedded.may_run({"pid": os.getpid()})
    assert not embedded.may_run({"pid": NO_SUCH_PID})
    assert not embedded.may_run({"pid": None})
    assert not embedded.may_run(None)


def test_a_stopped_server_keeps_its_address_in_the_status(tmp_path: Path) -> None:
    write(tmp_path, pid=None)
    status = embedded.status(str(tmp_path))
    assert (status["running"], status["uri"], status["version"]) == (False, "http://127.0.0.1:5", "9")


def test_a_server_that_answers_is_not_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = write(tmp_path)
    monkeypatch.setattr(embedded, "answers", lambda server: True)
    assert embedded.ensure_running({"cpu": 4}, home=str(tmp_path)) == server
    assert not (tmp_path / "local" / "config.json").exists()


def test_missing_packages_are_named_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError) as caught:
        embedded.ensure_running(home=str(tmp_path))
    assert "openpaisdk[local]" in str(caught.value.hint)


def test_on_windows_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded.os, "name", "nt")
    with pytest.raises(LocalClusterError, match="Windows") as caught:
        embedded.ensure_running(home=str(tmp_path))
    assert "WSL" in str(caught.value.hint)


def test_a_process_that_stays_is_not_gone() -> None:
    assert not embedded.wait_gone(os.getppid(), 0.01)
    assert embedded.wait_gone(NO_SUCH_PID, 0.01)


def test_a_server_that_was_stopped_on_purpose_is_not_started_again(tmp_path: Path) -> None:
    assert embedded.restart_crashed(str(tmp_path)) is None
    write(tmp_path, pid=None)
    assert embedded.restart_crashed(str(tmp_path)) is None


def test_a_server_that_answers_again_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = write(tmp_path)
    monkeypatch.setattr(embedded, "answers", lambda server: True)
    assert embedded.restart_crashed(str(tmp_path)) == server


def test_a_server_that_has_crashed_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, pid=NO_SUCH_PID)
    monkeypatch.setattr(embedded, "ensure_running", lambda home: {"home": home})
    assert embedded.restart_crashed(str(tmp_path)) == {"home": str(tmp_path)}


def test_a_server_that_is_about_to_end_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    monkeypatch.setattr(embedded, "answers", lambda server: False)
    waits: list[int] = []

    def end_at_last(pid: int, timeout_s: float) -> bool:
        waits.append(pid)
        if len(waits) == 3:
            write(tmp_path, pid=None)
        return len(waits) == 3

    monkeypatch.setattr(embedded, "wait_gone", end_at_last)
    assert embedded.restart_crashed(str(tmp_path)) is None
    assert waits == [os.getpid()] * 3
