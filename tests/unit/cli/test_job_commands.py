# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from openpaisdk.cli import following
from openpaisdk.errors import JobNotFoundError, UsageError

DEFAULT_FILTERS = {
    "states": (),
    "user": None,
    "all_users": False,
    "virtual_cluster": None,
    "keyword": None,
    "tags": (),
    "limit": 50,
    "offset": 0,
}


def test_list_returns_plain_dicts_of_the_own_jobs(bench):
    value = bench("job", "list")
    assert type(value) is list
    assert set(value[0]) >= {"name", "user", "state", "virtual_cluster", "submitted_at", "duration_s", "tags"}
    assert bench.cluster.calls == [("jobs", False, DEFAULT_FILTERS)]
    assert (bench.out, bench.err) == ("", "")


def test_list_hands_every_filter_on(bench):
    words = (
        "--name --state running --state FAILED --user bob --virtual-cluster vc1 --keyword k --tag a --tag b"
    )
    assert bench("job", "list", *words.split(), "--limit", "0", "--offset", "3") == ["good", "bad"]
    filters = {
        "states": ("RUNNING", "FAILED"),
        "user": "bob",
        "all_users": False,
        "virtual_cluster": "vc1",
        "keyword": "k",
        "tags": ("a", "b"),
        "limit": 0,
        "offset": 3,
    }
    assert bench.cluster.calls == [("jobs", True, filters)]


def test_list_refuses_a_state_that_does_not_exist(bench):
    with pytest.raises(UsageError, match="--state: invalid choice: 'BUSY'"):
        bench("job", "list", "--state", "BUSY")


@pytest.mark.parametrize("verb", ["list", "status"])
def test_list_with_a_name_is_status(bench, verb):
    assert bench("job", verb, "good") == bench.cluster.job_status("good")
    assert bench("job", verb, "good", "config") == bench.cluster.job_config("good")
    assert bench("job", verb, "good", "ssh") == [
        {"role": "main", "index": 0, "ip": "10.0.0.1", "port": 2222, "command": "ssh -p 2222 root@10.0.0.1"}
    ]
    with pytest.raises(UsageError, match="no part 'configg'"):
        bench("job", verb, "good", "configg")


def test_status_of_a_job_that_is_not_there_is_an_error(bench):
    with pytest.raises(JobNotFoundError):
        bench("job", "status", "nothing")


def test_the_alias_goes_to_the_cluster_however_it_is_given(bench, monkeypatch):
    bench("job", "list", "-a", "prod")
    monkeypatch.setenv("PAI_SDK_CLUSTER_ALIAS", "test")
    bench("job", "list")
    bench("-a", "prod", "job", "list")
    assert bench.aliases == ["prod", "test", "prod"]


def test_logs_hand_their_choice_on_and_return_the_text(bench):
    assert bench("job", "logs", "good") == "a line\nno end"
    bench("job", "logs", "good", "-t", "worker", "-n", "2", "--stderr", "--tail", "5")
    bench("job", "logs", "good", "--task-role=worker", "--index=2", "--stdout")
    assert bench.cluster.calls == [
        ("logs", "good", None, None, "all", None),
        ("logs", "good", "worker", 2, "stderr", 5),
        ("logs", "good", "worker", 2, "stdout", None),
    ]


def test_logs_take_one_stream(bench):
    with pytest.raises(UsageError, match="--stderr: not allowed with argument --stdout"):
        bench("job", "logs", "good", "--stdout", "--stderr")


def test_following_one_task_hands_the_text_on_as_it_comes(bench, log, end):
    bench.cluster.events = [log("a\nb"), log("c\n"), end("bad")]
    assert bench("job", "logs", "-f", "good") is None
    assert bench.out == "a\nbc\n"
    assert bench.err == "job 'good' is FAILED\n"


def test_following_with_json_keeps_stdout_clean(bench, log, end):
    bench.cluster.events = [log("a\n"), end("good")]
    assert bench("job", "logs", "-f", "good", "-o", "json", "-q") is None
    assert (bench.out, bench.err) == ("", "a\n")


def test_lines_of_several_tasks_carry_their_task():
    written = []
    feed = following.LineFeed(written.append, several_tasks=True)
    feed.feed("worker", 0, "one\ntw")
    feed.feed("ps", 1, "other\n")
    feed.feed("worker", 0, "o\n\nend")
    feed.close()
    assert "".join(written) == (
        "worker[0] | one\nps[1] | other\nworker[0] | two\nworker[0] | \nworker[0] | end\n"
    )


def test_a_line_without_end_of_one_of_several_tasks_is_shown_in_pieces():
    written = []
    feed = following.LineFeed(written.append, several_tasks=True)
    for _ in range(5):
        feed.feed("worker", 0, "x" * 40_000)
    feed.close()
    assert written == [f"worker[0] | {'x' * 80_000}\n"] * 2 + [f"worker[0] | {'x' * 40_000}\n"]


def test_what_is_to_be_known_of_a_job_is_told_with_its_log(bench, log, end):
    bench.cluster.notes = ["image 'x' is not used"]
    assert bench("job", "logs", "good") == "a line\nno end"
    assert bench.err == "note: image 'x' is not used\n"
    bench.cluster.events = [{"type": "note", "text": "image 'x' is not used"}, log("a\n"), end("good")]
    bench("job", "logs", "-f", "good")
    assert (bench.out, bench.err.count("note: image 'x' is not used\n")) == ("a\n", 2)
    bench("job", "fast", "--follow", "-j", "good", "true")
    assert bench.err.count("note: image 'x' is not used\n") == 3


def test_quiet_logs_have_no_notes(bench, log, end):
    bench.cluster.notes = ["image 'x' is not used"]
    bench("job", "logs", "good", "-q")
    bench.cluster.events = [{"type": "note", "text": "image 'x' is not used"}, log("a\n"), end("good")]
    bench("job", "logs", "-f", "good", "-q")
    assert bench.err == ""


def test_breaking_off_says_that_the_job_goes_on(bench, log):
    bench.cluster.events = [log("a\n"), KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        bench("job", "logs", "-f", "good")
    assert bench.err == (
        "the job goes on: follow again with `opai job logs -f good`, stop it with `opai job stop good`\n"
    )


def test_wait_returns_how_each_job_ended(bench):
    assert bench("job", "wait", "good", "bad", "--timeout", "5") == [
        {"name": "good", "state": "SUCCEEDED", "exit_code": 0, "user_exit_code": 0},
        {"name": "bad", "state": "FAILED", "exit_code": 255, "user_exit_code": 42},
    ]
    assert bench.cluster.calls == [("wait", ["good", "bad"], 5.0)]


def test_stop_returns_the_jobs_in_the_form_of_list(bench):
    (value,) = bench("job", "stop", "good")
    assert set(value) == set(bench("job", "list")[0])
    assert (value["name"], value["state"]) == ("good", "STOPPING")


def test_stop_lists_the_jobs_of_one_user_once(bench):
    stopped = bench("job", "stop", "good", "bad")
    assert [job["name"] for job in stopped] == ["good", "bad"]
    bench("job", "stop", "good")
    listed = [filters for method, _, filters in bench.cluster.calls if method == "jobs"]
    assert listed == [
        {"user": None, "keyword": None, "limit": 0},
        {"user": None, "keyword": "good", "limit": 0},
    ]


def test_stop_goes_on_after_a_job_that_is_not_there(bench):
    with pytest.raises(JobNotFoundError, match="'nothing'"):
        bench("job", "stop", "nothing", "good", "nobody")
    assert "job 'nobody' was not stopped" in bench.err


VALID = """\
protocolVersion: 2
name: demo
type: job
prerequisites:
  - {type: dockerimage, name: image, uri: "python:3.11"}
taskRoles:
  worker:
    instances: 2
    dockerImage: image
    resourcePerInstance: {cpu: 1, memoryMB: 512, gpu: 0}
    commands: [echo hello]
"""


@pytest.fixture
def job_file(tmp_path):
    path = tmp_path / "work" / "job.yaml"
    path.write_text(VALID)
    return path


def test_submit_sends_the_document_and_returns_where_it_is(bench, job_file):
    value = bench("job", "submit", "--config", "job.yaml")
    assert value == {"name": "demo", "user": "alice", "cluster": "fake", "link": "http://127.0.0.1:1/x"}
    assert bench.cluster.submitted[0]["taskRoles"]["worker"]["instances"] == 2
    assert "job 'demo' was submitted: http://127.0.0.1:1/x" in bench.err


def test_submit_changes_fields_first(bench, job_file):
    words = ["-u", "taskRoles.worker.instances=3", "-u", "defaults::virtualCluster=vc1", "-j", "other"]
    value = bench("job", "submit", "--config", "job.yaml", *words)
    sent = bench.cluster.submitted[0]
    assert (value["name"], sent["name"]) == ("other", "other")
    assert sent["taskRoles"]["worker"]["instances"] == 3
    assert sent["defaults"]["virtualCluster"] == "vc1"


def test_submit_reads_stdin(bench, monkeypatch):
    import io

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(VALID.encode())))
    assert bench("job", "submit", "--config", "-")["name"] == "demo"


def test_submit_waits_or_follows(bench, job_file, log, end):
    value = bench("job", "submit", "--config", "job.yaml", "--wait", "-j", "bad")
    assert (value["state"], value["exit_code"], value["user_exit_code"]) == ("FAILED", 255, 42)
    bench.cluster.events = [log("hello\n", role="worker", index=1), end("good")]
    value = bench("job", "submit", "--config", "job.yaml", "--follow", "-j", "good")
    assert (value["state"], bench.out) == ("SUCCEEDED", "worker[1] | hello\n")


def test_a_last_line_without_an_end_gets_one_before_the_value(opai, log, end):
    opai.cluster.events = [log("no end"), end("good")]
    code, out, _ = opai("job", "fast", "-q", "-j", "good", "--follow", "true")
    assert (code, out.splitlines()[:2]) == (0, ["no end", "name:           good"])


def test_submit_only_previews(bench, job_file):
    job_file.write_text(VALID + "secrets:\n  key: hidden\n")
    assert bench("job", "submit", "--config", "job.yaml", "--preview")["secrets"] == {"key": "***"}
    shown = bench("job", "submit", "--config", "job.yaml", "--preview", "--show-secrets")
    assert shown["secrets"] == {"key": "hidden"}
    assert bench.cluster.submitted == []


def test_submit_wants_a_file(bench):
    with pytest.raises(UsageError, match="required: --config"):
        bench("job", "submit")
    with pytest.raises(UsageError, match=r"cannot read 'none\.yaml': no such file"):
        bench("job", "submit", "--config", "none.yaml")


@pytest.mark.parametrize("text", ['{"jobName": "x", "taskRoles": [{"name": "a"}]}', '{"taskRoles": []}'])
def test_submit_tells_a_document_of_version_1(bench, job_file, text):
    from openpaisdk.errors import SpecError

    job_file.write_text(text)
    with pytest.raises(SpecError, match="protocol version 1"):
        bench("job", "submit", "--config", "job.yaml")


def test_fast_makes_a_job_of_one_command(bench):
    value = bench("job", "fast", "-j", "quick", "--cpu", "2", "--mem", "2g", "--gpu=1", "echo", "a b", "-q")
    sent = bench.cluster.submitted[0]
    (role,) = sent["taskRoles"].values()
    assert value["name"] == sent["name"] == "quick"
    assert role["resourcePerInstance"] == {"cpu": 2, "memoryMB": 2048, "gpu": 1}
    assert role["commands"][-1] == "echo 'a b' -q"
    assert bench.err.startswith("job 'quick' was submitted")


def test_fast_takes_a_single_word_as_a_shell_line(bench):
    bench("job", "sub", "--", "echo a | tr a b > out")
    assert (
        next(iter(bench.cluster.submitted[0]["taskRoles"].values()))["commands"][-1]
        == "echo a | tr a b > out"
    )


def test_fast_takes_what_is_left_out_from_the_settings(bench, monkeypatch):
    monkeypatch.setenv("PAI_SDK_CPU", "4")
    monkeypatch.setenv("PAI_SDK_MEM", "3g")
    monkeypatch.setenv("PAI_SDK_IMAGE", "ubuntu")
    monkeypatch.setenv("PAI_SDK_VIRTUAL_CLUSTER", "vc2")
    document = bench("job", "fast", "--preview", "true")
    (role,) = document["taskRoles"].values()
    assert role["resourcePerInstance"] == {"cpu": 4, "memoryMB": 3072, "gpu": 0}
    assert document["prerequisites"][0]["uri"] == "ubuntu"
    assert document["defaults"]["virtualCluster"] == "vc2"


def test_fast_options_reach_the_document(bench):
    words = "-i img --port http=2 --vc vc1 -e A=1 -e B=x=y --param lr=0.1 --retry 2 --outputs a,b --outputs c"
    document = bench("job", "fast", "--preview", *words.split(), "python", "-V")
    (role,) = document["taskRoles"].values()
    assert role["resourcePerInstance"]["ports"] == {"http": 2}
    assert document["parameters"] == {"lr": "0.1"}
    assert document["jobRetryCount"] == 2
    assert document["extras"]["openpaisdk"]["outputs"] == ["a", "b", "c"]
    text = "\n".join(role["commands"])
    assert "export A=1" in text
    assert "export B=x=y" in text


def test_fast_secrets_are_masked_and_come_from_three_places(bench, monkeypatch, tmp_path):
    monkeypatch.setenv("FROM_ENV", "one")
    (tmp_path / "work" / "file").write_text("two\n")
    words = ["--secret", "FROM_ENV", "--secret", "F=@file", "--secret", "V=three"]
    assert bench("job", "fast", "--preview", *words, "true")["secrets"] == {
        "FROM_ENV": "***",
        "F": "***",
        "V": "***",
    }
    shown = bench("job", "fast", "--preview", "--show-secrets", *words, "true")["secrets"]
    assert shown == {"FROM_ENV": "one", "F": "two", "V": "three"}
    assert bench.err.count("warning:") == 2
    assert "--secret V can be seen on the command line" in bench.err
    assert "three" not in bench.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "missing CMD"),
        (["--secret", "NOT_SET_ANYWHERE", "true"], r"variable \$NOT_SET_ANYWHERE is not set"),
        (["-e", "A=1", "-e", "A=2", "true"], "--env A was given twice"),
        (["--port", "http=0", "true"], "--port: expected a whole number"),
        (["-e", "A", "true"], "--env: expected NAME=VALUE, got 'A'"),
        (["-j", "a b", "true"], "job name 'a b'"),
    ],
)
def test_fast_refuses_what_makes_no_sense(bench, words, message):
    with pytest.raises(UsageError, match=message):
        bench("job", "fast", *words)
    assert bench.cluster.submitted == []


def test_an_interrupted_wait_says_that_the_job_goes_on(bench, monkeypatch):
    def wait(names, timeout_s=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(bench.cluster, "wait", wait)
    with pytest.raises(KeyboardInterrupt):
        bench("job", "fast", "-j", "quick", "--wait", "true")
    assert "wait again with `opai job wait quick`" in bench.err


def test_verbose_shows_requests(bench):
    bench("job", "list", "-v")
    bench.cluster.trace("GET /x -> 200")
    assert bench.err == "GET /x -> 200\n"


def test_validate_returns_the_warnings_of_a_good_document(bench, job_file):
    assert bench("job", "validate", "job.yaml") == {"valid": True, "warnings": []}
    job_file.write_text(VALID.replace("worker", "My_Worker"))
    (warning, *_) = bench("job", "validate", "job.yaml")["warnings"]
    assert set(warning) == {"severity", "path", "message", "hint", "file", "line", "column"}
    assert (warning["severity"], warning["file"]) == ("warning", "job.yaml")


def test_validate_raises_every_problem_at_once(bench, job_file):
    from openpaisdk.errors import SpecError

    job_file.write_text(VALID.replace("cpu: 1", "cpu: one").replace("type: job", "type: jib"))
    with pytest.raises(SpecError, match=r"job document 'job.yaml' has 2 problems") as caught:
        bench("job", "validate", "job.yaml")
    errors = [problem for problem in caught.value.problems if problem["severity"] == "error"]
    assert sorted(problem["path"] for problem in errors) == [
        "taskRoles.worker.resourcePerInstance.cpu",
        "type",
    ]
    assert {problem["line"] for problem in errors} == {3, 10}


def test_validate_shows_the_report_and_exits_1(opai, job_file):
    import json

    job_file.write_text(VALID.replace("type: job", "type: jib"))
    code, out, err = opai("job", "validate", "job.yaml", "-o", "json")
    assert (code, json.loads(out)["valid"]) == (1, False)
    assert json.loads(err)["error"]["code"] == "Spec"
    code, out, err = opai("job", "validate", "job.yaml")
    assert (code, err.splitlines()[0]) == (1, "error: job document 'job.yaml' has 1 problem")
    assert out.startswith("job.yaml:3:7: error: type: ")
    job_file.write_text(VALID)
    assert opai("job", "validate", "job.yaml") == (0, "valid\n", "")
    assert opai("job", "validate", "none.yaml")[:2] == (2, "")


@pytest.mark.parametrize(
    ("content", "line", "column"), [(b"name: a\n\xff\n", 2, 1), (b"\x7fELF\x80", 1, 5), (b"a\0", 1, 2)]
)
def test_a_document_that_is_no_text_is_not_valid(opai, job_file, content, line, column):
    import json

    job_file.write_bytes(content)
    code, out, err = opai("job", "validate", "job.yaml", "-o", "json")
    (problem,) = json.loads(out)["problems"]
    assert (code, json.loads(out)["valid"], json.loads(err)["error"]["code"]) == (1, False, "Spec")
    assert set(problem) == {"severity", "path", "message", "hint", "file", "line", "column"}
    assert (problem["file"], problem["line"], problem["column"]) == ("job.yaml", line, column)
    code, out, err = opai("job", "submit", "--config", "job.yaml")
    assert (code, out) == (1, "")


def test_a_document_may_begin_with_a_byte_order_mark(bench, job_file):
    job_file.write_bytes(b"\xef\xbb\xbf" + VALID.encode())
    assert bench("job", "validate", "job.yaml")["valid"]
