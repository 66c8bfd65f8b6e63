# SPDX-License-Identifier: MIT
"""Exit codes: the table and how a command's end is mapped."""

from __future__ import annotations

import pytest

from openpaisdk.spec.exit_codes import behavior, exit_spec, task_exit_code


def _never_read() -> bytes:
    raise AssertionError("the log was read")


def test_a_listed_code_has_its_row():
    spec = exit_spec(-210)
    assert (spec["phrase"], spec["type"], spec["behavior"]) == (
        "StopFrameworkRequested",
        "USER_STOP",
        "PERMANENT",
    )


@pytest.mark.parametrize(
    ("code", "phrase"),
    [
        (42, "PAIRuntimeExitAbnormally"),
        (1, "PAIRuntimeExitAbnormally"),
        (-5, "ContainerUndefinedNegativeExitCode"),
    ],
)
def test_an_unlisted_code_has_a_general_row_with_its_own_code(code, phrase):
    spec = exit_spec(code)
    assert (spec["code"], spec["phrase"]) == (code, phrase)


def test_specs_are_copies():
    exit_spec(255)["solution"].append("changed")
    exit_spec(255)["phrase"] = "changed"
    assert exit_spec(255)["phrase"] == "PAIRuntimeUnknownFailed"
    assert "changed" not in exit_spec(255)["solution"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [(137, "TRANSIENT"), (232, "PERMANENT"), (255, "UNKNOWN"), (251, "TRANSIENT_CONFLICT")],
)
def test_behavior_tells_how_a_code_is_retried(code, expected):
    assert behavior(code) == expected


@pytest.mark.parametrize("code", [0, 137, 143, 130])
def test_the_log_is_not_read_when_the_code_alone_decides(code):
    assert task_exit_code(code, _never_read) == code


@pytest.mark.parametrize(
    ("code", "log", "mapped"),
    [
        (1, b"", 255),
        (2, b"nothing known", 255),
        (42, b"\xff\xfe", 255),
        (220, b"", 255),
        (127, b"bash: foo: Command Not Found\n", 220),
        (1, b"bash: foo: command not found\n", 255),
        (127, b"no such file", 255),
        (1, b"Traceback\nImportError: no module\n", 232),
        (1, b"ModuleNotFoundError: No module named 'x'\n", 255),
        (1, b"  SyntaxError: invalid syntax\n", 231),
        (1, b"NameError: name 'x' is not defined\n", 231),
        (1, b"NameError: name 'x'\n is not defined\n", 255),
        (1, b"tensorflow: ResourceExhaustedError: OOM when\nImportError: x", 221),
        (1, b"AttributeError: 'A' object has no attribute 'b'", 231),
        (139, b"Segmentation fault (core dumped)", 139),
        (1, b"Segmentation fault (core dumped)", 234),
        (1, b"FileNotFoundError: [Errno 2] No such file or directory", 255),
        (1, b"FileNotFoundError: e No such file or directory", 229),
        (1, b"cuda runtime error (2) : out of memory", 255),
        (1, b"cuda runtime error 2 : out of memory", 226),
        (1, b"IndexError: list index out of range", 233),
        (10, b"SSH barrier reaches max retry count", 255),
    ],
)
def test_a_commands_end_is_mapped_by_the_table(code, log, mapped):
    assert task_exit_code(code, lambda: log) == mapped


def test_the_ssh_barrier_is_found_in_the_log_of_the_platforms_steps():
    assert task_exit_code(10, bytes, lambda: b"SSH barrier reaches max retry count") == 249
