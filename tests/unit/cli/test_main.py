# SPDX-License-Identifier: MIT
from __future__ import annotations

import errno
import io
import json

import pytest

from openpaisdk import errors
from openpaisdk.cli import exit_codes, main, output, table


@pytest.mark.parametrize("words", [[], ["-h"]])
def test_help_goes_to_stdout(opai, words):
    assert opai(*words) == (0, table.help_text(), "")


def test_a_usage_error_goes_to_stderr_with_a_hint(opai):
    code, out, err = opai("job", "listt")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "error: opai job has no command 'listt'",
        "hint: did you mean `opai job list`? `opai job -h` lists the commands",
    ]


@pytest.mark.parametrize("words", [["-o", "json"], ["-ojson"], ["--format=json"], ["--format", "json"]])
def test_an_error_with_json_is_an_object_on_the_last_line_of_stderr(opai, words):
    code, out, err = opai("job", "list", "--nmae", *words)
    assert (code, out) == (2, "")
    assert json.loads(err.splitlines()[-1]) == {
        "error": {
            "code": "Usage",
            "message": "unknown option '--nmae'",
            "hint": "did you mean --name? `opai job list -h` lists what it takes",
        }
    }


def test_an_error_of_the_cluster_has_its_exit_code_and_kind(opai):
    code, out, err = opai("job", "status", "nothing", "-o", "json")
    assert (code, out) == (5, "")
    assert json.loads(err)["error"]["code"] == "JobNotFound"


def test_a_list_is_a_table(opai):
    code, out, err = opai("job", "list")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split()[:3] == ["NAME", "USER", "STATE"]
    assert lines[1].startswith("good  alice  SUCCEEDED  default")
    assert "2026-11-21 01:02  1m 1s" in lines[1]


def test_json_is_the_whole_value_and_nothing_else(opai):
    opai.cluster.more = True
    code, out, err = opai("job", "list", "-o", "json")
    assert code == 0
    assert [job["name"] for job in json.loads(out)] == ["good", "bad"]
    assert "there are more jobs: go on with --offset 2" in err


def test_names_are_one_a_line(opai):
    assert opai("job", "list", "--name") == (0, "good\nbad\n", "")


def test_quiet_silences_hints(opai):
    opai.cluster.more = True
    assert opai("job", "list", "--name", "-q") == (0, "good\nbad\n", "")


def test_yaml_is_the_whole_value(opai):
    import yaml

    code, out, _ = opai("job", "status", "good", "-o", "yaml")
    assert code == 0
    assert yaml.safe_load(out)["task_roles"]["main"][0]["ports"] == {"ssh": [2222]}


def test_a_document_is_yaml_unless_said_otherwise(opai):
    import yaml

    assert yaml.safe_load(opai("job", "config", "good")[1])["name"] == "good"
    assert json.loads(opai("job", "config", "good", "-o", "json")[1])["name"] == "good"


def test_the_text_of_logs_is_not_touched(opai):
    assert opai("job", "logs", "good") == (0, "a line\nno end", "")
    assert json.loads(opai("job", "logs", "good", "-o", "json")[1]) == "a line\nno end"


def test_a_status_shows_the_job_and_its_tasks(opai):
    out = opai("job", "status", "bad")[1]
    assert "state:           FAILED\n" in out
    assert "started at:      2026-11-21 01:02:04 UTC\n" in out
    assert out.splitlines()[-1].split() == [
        "main",
        "0",
        "FAILED",
        "0",
        "255",
        "42",
        "-",
        "10.0.0.1",
        "ssh=2222",
    ]


def test_a_status_shows_each_note_on_a_line(opai):
    opai.cluster.notes = ["one", "two"]
    out = opai("job", "status", "bad")[1]
    assert "note: one\nnote: two\n" in out
    assert "notes" not in out
    assert json.loads(opai("job", "status", "bad", "-o", "json")[1])["notes"] == ["one", "two"]


def test_a_job_that_was_waited_for_and_failed_is_exit_code_3(opai):
    assert opai("job", "wait", "good")[0] == 0
    code, out, err = opai("job", "wait", "good", "bad", "-o", "json")
    assert (code, err) == (3, "")
    assert json.loads(out)[1] == {"name": "bad", "state": "FAILED", "exit_code": 255, "user_exit_code": 42}


def test_an_empty_list_says_so_on_stderr(opai, monkeypatch):
    monkeypatch.setattr(type(opai.cluster), "jobs", lambda self, name_only=False, **filters: [])
    assert opai("job", "list") == (0, "", "nothing to show\n")
    assert opai("job", "list", "-o", "json") == (0, "[]\n", "")


def test_a_bug_is_exit_code_70_without_a_traceback(opai, monkeypatch):
    def jobs(self, **filters):
        raise KeyError("surprise")

    monkeypatch.setattr(type(opai.cluster), "jobs", jobs)
    code, out, err = opai("job", "list")
    assert (code, out) == (70, "")
    assert err == "error: unexpected KeyError: 'surprise'\nhint: this is a bug in opai; --debug shows where\n"
    assert "Traceback (most recent call last)" in opai("job", "list", "--debug")[2]


def test_an_interruption_is_exit_code_130(opai, monkeypatch):
    def jobs(self, **filters):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(opai.cluster), "jobs", jobs)
    assert opai("job", "list") == (130, "", "error: interrupted\n")


def test_a_setting_chooses_the_format(opai, monkeypatch):
    monkeypatch.setenv("PAI_SDK_FORMAT", "json")
    assert json.loads(opai("job", "list", "--name")[1]) == ["good", "bad"]
    assert opai("job", "list", "--name", "-o", "table")[1] == "good\nbad\n"


def test_a_setting_that_makes_no_sense_is_an_error(opai, monkeypatch):
    monkeypatch.setenv("PAI_SDK_FORMAT", "xml")
    code, out, err = opai("job", "list")
    assert (code, out) == (1, "")
    assert "'xml'" in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("x"), 2),
        (errors.UnknownSettingError("x"), 2),
        (errors.ConfigError("x"), 1),
        (errors.SpecError("x"), 1),
        (errors.WaitTimeoutError("x"), 1),
        (errors.RateLimitError("x"), 1),
        (errors.ClusterConnectionError("x"), 1),
        (errors.MissingExtraError("x", extra="local"), 1),
        (errors.AuthenticationError("x"), 4),
        (errors.PermissionDeniedError("x"), 4),
        (errors.StoragePermissionError("x"), 4),
        (errors.UnknownClusterError("x"), 5),
        (errors.JobNotFoundError("x"), 5),
        (errors.StorageNotFoundError("x"), 5),
        (errors.JobExistsError("x"), 6),
        (errors.StorageExistsError("x"), 6),
        (ValueError("x"), 70),
        (FileNotFoundError("x"), 70),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_error_has_its_exit_code(error, code):
    assert exit_codes.exit_code_of(error) == code


def test_main_exits_with_the_code(opai, monkeypatch):
    monkeypatch.setattr("sys.argv", ["opai", "jbo"])
    with pytest.raises(SystemExit) as caught:
        main.main()
    assert caught.value.code == 2


class Pipe(io.StringIO):
    """A stdout whose reader has gone, or whose disk is full."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def write(self, text):
        raise (
            OSError(self.number, "No space left on device")
            if self.number != errno.EPIPE
            else BrokenPipeError()
        )


def test_a_reader_that_has_left_is_no_error(opai, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout", Pipe(errno.EPIPE))
    assert main.run(["job", "list"]) == 0
    assert main.run(["job", "wait", "bad"]) == 3
    assert main.run(["-h"]) == 0
    assert capsys.readouterr().err == ""


def test_a_full_disk_is_an_error(opai, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout", Pipe(errno.ENOSPC))
    assert main.run(["job", "list"]) == 1
    assert capsys.readouterr().err == "error: cannot write the output: No space left on device\n"


def test_an_error_that_cannot_be_shown_keeps_its_exit_code(opai, monkeypatch):
    monkeypatch.setattr("sys.stderr", Pipe(errno.ENOSPC))
    assert main.run(["job", "status", "nothing"]) == 5


def test_a_closed_stdout_is_no_error(opai, monkeypatch):
    monkeypatch.setattr("sys.stdout", None)
    assert main.run(["job", "list"]) == 0


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_colours_are_for_terminals_only(opai, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("sys.stdout", Terminal())
    main.run(["job", "list"])
    assert "\x1b[32mSUCCEEDED\x1b[0m" in main.sys.stdout.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stdout", Terminal())
    main.run(["job", "list"])
    assert "\x1b" not in main.sys.stdout.getvalue()


def test_json_is_indented_for_a_person(opai, monkeypatch):
    monkeypatch.setattr("sys.stdout", Terminal())
    main.run(["job", "list", "--name", "-o", "json"])
    assert main.sys.stdout.getvalue() == '[\n  "good",\n  "bad"\n]\n'


def test_bytes_of_a_task_leave_as_they_came(opai, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="utf-8"))
    text = b"\xe9t\xe9 \xf0\x9f\x98\x80\r\n".decode("utf-8", "surrogateescape")
    monkeypatch.setattr(type(opai.cluster), "logs", lambda self, name, **choice: text)
    assert main.run(["job", "logs", "good"]) == 0
    assert written.getvalue() == b"\xe9t\xe9 \xf0\x9f\x98\x80\r\n"


def test_a_narrow_encoding_is_no_error(opai, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="ascii"))
    monkeypatch.setattr(type(opai.cluster), "logs", lambda self, name, **choice: "é\n")
    assert main.run(["job", "logs", "good"]) == 0
    assert written.getvalue() == b"\\xe9\n"


def test_problems_of_a_document_stand_below_the_error(capsys):
    problem = {"severity": "error", "path": "taskRoles.main.cpu", "message": "expected an integer; got 'x'"}
    warning = {"severity": "warning", "path": "name", "message": "long"}
    error = errors.SpecError("job spec 'x' has 1 problem", problems=[problem, warning], hint="look")
    output.show_error(error, "table", output.Stream(main.sys.stderr))
    assert capsys.readouterr().err == (
        "error: job spec 'x' has 1 problem\n  taskRoles.main.cpu: expected an integer; got 'x'\nhint: look\n"
    )
