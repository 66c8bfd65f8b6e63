# SPDX-License-Identifier: MIT
"""``opai`` as a process of its own against the embedded cluster, which the first command starts."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import openpaisdk

pytestmark = pytest.mark.integration

ROOT = Path(openpaisdk.__file__).parent.parent
EXAMPLE = ROOT / "examples" / "distributed" / "job.yaml"
TIMEOUT_S = 120


class Opai:
    """Runs ``opai`` with a home of its own; the result has ``code``, ``out`` and ``err``."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PAI_")},
            "OPENPAI_HOME": str(home),
            "HOME": str(home.parent),
            "PYTHONPATH": str(ROOT),
            "NO_COLOR": "1",
        }

    def start(self, *words: str, **options: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "openpaisdk", *words],
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def __call__(self, *words: str, text: str | None = None) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "openpaisdk", *words],
            env=self.environment,
            cwd=self.folder,
            input=text if text is not None else "",
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def error(self):
        """The error object that ``-o json`` leaves on the last line of stderr."""
        return json.loads(self.err.splitlines()[-1])["error"]


@pytest.fixture(scope="module")
def opai(tmp_path_factory):
    base = tmp_path_factory.mktemp("opai")
    folder = base / "project"
    folder.mkdir()
    opai = Opai(base / "home", folder)
    yield opai
    stopped = opai("local", "stop", "--kill", "-o", "json")
    assert stopped.json["running"] is False, stopped.err


@pytest.fixture
def engine(opai, monkeypatch):
    monkeypatch.setenv("OPENPAI_HOME", opai.environment["OPENPAI_HOME"])
    monkeypatch.setenv("HOME", opai.environment["HOME"])
    monkeypatch.chdir(opai.folder)
    for name in list(os.environ):
        if name.startswith("PAI_"):
            monkeypatch.delenv(name)
    return openpaisdk.Engine()


@pytest.fixture(scope="module")
def ended(opai):
    """A job that printed to both streams, stored a file, and failed."""
    command = "echo to stdout; echo to stderr >&2; mkdir -p made; echo kept > made/file; exit 42"
    done = opai("job", "fast", "-j", "ended", "--outputs", "made", "--wait", "-o", "json", command)
    assert done.code == 3, done.err
    return done


def test_a_followed_job_shows_what_it_prints_and_then_how_it_ended(opai):
    done = opai("job", "fast", "--follow", "-j", "hello", "echo", "hello  world")
    assert done.code == 0, done.err
    first, *rest = done.out.splitlines()
    assert first == "hello  world"
    assert any(line.split() == ["state:", "SUCCEEDED"] for line in rest)
    assert "job 'hello' was submitted: http://127.0.0.1:" in done.err


def test_with_json_followed_lines_leave_stdout_alone(opai):
    done = opai("job", "fast", "--follow", "-o", "json", "-j", "hello-json", "echo", "hello")
    assert (done.code, done.json["state"], done.json["exit_code"]) == (0, "SUCCEEDED", 0)
    assert set(done.json) == {"name", "user", "cluster", "link", "state", "exit_code", "user_exit_code"}
    assert "hello" in done.err.splitlines()


def test_a_job_that_failed_is_a_value_and_exit_code_3(opai, ended):
    assert (ended.json["state"], ended.json["exit_code"], ended.json["user_exit_code"]) == ("FAILED", 255, 42)
    waited = opai("job", "wait", "ended", "-o", "json")
    assert (waited.code, waited.err) == (3, "")
    assert waited.json == [{"name": "ended", "state": "FAILED", "exit_code": 255, "user_exit_code": 42}]


def test_the_same_name_again_is_exit_code_6(opai, ended):
    done = opai("job", "fast", "-j", "ended", "-o", "json", "true")
    assert (done.code, done.out, done.error["code"]) == (6, "", "JobExists")


def test_list_status_and_logs_agree(opai, ended):
    (job,) = [job for job in opai("job", "list", "-o", "json").json if job["name"] == "ended"]
    assert (job["state"], job["tasks"], job["gpus"], job["tags"]) == ("FAILED", 1, 0, [])
    assert "ended" in opai("job", "list", "--name").out.split()
    assert opai("job", "list", "--name", "--state", "FAILED", "-o", "json").json == ["ended"]
    status = opai("job", "status", "ended", "-o", "json").json
    assert status == {**opai("job", "list", "ended", "-o", "json").json, "link": status["link"]}
    (task,) = status["task_roles"]["main"]
    assert (task["index"], task["state"], task["exit_code"]) == (0, "FAILED", 255)
    assert opai("job", "logs", "ended", "--stdout").out == "to stdout\n"
    assert opai("job", "logs", "ended", "--stderr").out == "to stderr\n"
    assert sorted(opai("job", "logs", "ended").out.splitlines()) == ["to stderr", "to stdout"]
    assert opai("job", "logs", "ended", "-f", "--stdout").out == "to stdout\n"


NOTE = "image 'python:3.11' is not used: the embedded cluster runs tasks as processes of this machine"


def test_what_is_to_be_known_of_a_job_is_told(opai, ended):
    assert opai("job", "status", "ended", "-o", "json").json["notes"] == [NOTE]
    assert f"note: {NOTE}\n" in opai("job", "status", "ended").out
    for words in (["job", "logs", "ended"], ["job", "logs", "-f", "ended"]):
        assert opai(*words).err.count(f"note: {NOTE}\n") == 1
        assert opai(*words, "-q").err == ""
    followed = opai("job", "fast", "--follow", "echo", "hello")
    assert followed.err.count(f"note: {NOTE}\n") == 1


def test_a_command_keeps_its_words(opai):
    words = ["python", "-c", "import sys; print(sys.argv[1:])", "-j", "--wait", "--", "-o", "a  b", "", "$x"]
    done = opai("-q", "job", "fast", "-j", "words", "--follow", *words)
    assert done.out.splitlines()[0] == str(words[3:])


def test_keys_are_in_snake_case_and_sizes_in_bytes(opai):
    assert {"name", "version", "launcher_type", "authn_method"} <= set(
        opai("cluster", "info", "-o", "json").json
    )
    (resources,) = opai("cluster", "resources", "-o", "json").json
    assert resources["memory_total_bytes"] >= 1024**2
    assert resources["cpus_free"] + resources["cpus_used"] == resources["cpus_total"]


def test_config_gives_a_document_that_can_be_submitted_again(opai, ended):
    document = opai("job", "config", "ended").out
    assert opai("job", "status", "ended", "config").out == document
    assert "exit 42" in document
    again = opai("job", "submit", "--config", "-", "-j", "again", "--wait", "-o", "json", text=document)
    assert (again.code, again.json["name"], again.json["user_exit_code"]) == (3, "again", 42)


def test_outputs_of_the_last_job_come_back(opai, ended):
    (opai.folder / "train.py").write_text("open('model.txt', 'w').write('weights')\nprint('trained')\n")
    done = opai("job", "fast", "-j", "train", "--outputs", "model.txt", "--wait", "python", "train.py")
    assert done.code == 0, done.err
    assert "uploading 1 file, 57 B: train.py (57 B)\n" in done.err
    assert "train.py: the command names it\n" in done.err
    listed = opai("output", "list", "-o", "json").json
    assert [(item["name"], item["type"], item["size_bytes"]) for item in listed] == [("model.txt", "file", 7)]
    assert opai("output", "peek", "--stdout").out == "trained\n"
    assert opai("output", "download", "--to", "got").code == 0
    assert (opai.folder / "got" / "model.txt").read_text() == "weights"
    assert opai("output", "download", "--to", "got").code == 6
    assert opai("output", "download", "--to", "got", "--overwrite").code == 0
    assert opai("output", "download", "nothing", "--to", "got").code == 5
    assert [item["name"] for item in opai("output", "list", "-j", "ended", "-o", "json").json] == ["made"]


SEVERAL = """\
protocolVersion: 2
name: several
type: job
prerequisites:
  - {type: dockerimage, name: image, uri: "python:3.11"}
taskRoles:
  worker:
    instances: 2
    dockerImage: image
    resourcePerInstance: {cpu: 1, memoryMB: 256, gpu: 0}
    commands: ['echo working as $PAI_CURRENT_TASK_ROLE_CURRENT_TASK_INDEX']
extras: {gangAllocation: false}
"""


def test_a_folder_that_was_stored_once_is_unpacked_by_each_job_that_names_it(opai):
    images = opai.folder / "images"
    (images / "sub").mkdir(parents=True)
    (images / "a.txt").write_text("one\n")
    (images / "sub" / "ü b.txt").write_text("two\n")
    stored = opai("storage", "upload", "--archive", "images", "images.tar.gz")
    assert stored.code == 0, stored.err
    user = opai("job", "fast", "--preview", "-o", "json", "true").json["extras"]["openpaisdk"]["workspace"]
    place = opai("storage", "list-storage", "-o", "json").json[0]["uri"]
    for address in (f"hdfs://{user}/images.tar.gz", f"{place}{user}/images.tar.gz"):
        words = ["job", "fast", "-s", address, "--follow", "cat", "images/a.txt", "images/sub/ü b.txt"]
        done = opai(*words)
        assert (done.code, "\none\ntwo\n" in done.out) == (0, True), done.err
        assert "into images/" in done.err
        assert "uploading" not in done.err
        sent = opai(*words[:4], "--preview", "-o", "json", "true").json
        assert sent["extras"]["openpaisdk"]["archives"] == [f"hdfs://{user}/images.tar.gz"]
    missing = opai("job", "fast", "-j", "never", "-s", f"hdfs://{user}/no.tar", "true")
    assert (missing.code, opai("job", "status", "never").code) == (5, 5)
    assert f"there is no '{user}/no.tar'" in missing.err
    opai("storage", "mkdir", "folder.tar")
    assert opai("job", "fast", "-s", f"hdfs://{user}/folder.tar", "true").code == 1
    assert opai("storage", "list", f"hdfs://{user}/images.tar.gz").code == 0


def test_jobs_of_the_embedded_cluster_stay_on_its_own_storage_whichever_is_the_default(opai):
    attach = ("cluster", "attach-hdfs", "-s", "share", "--web-hdfs-uri", "file://localhost", "--default")
    assert opai(*attach).code == 0
    try:
        assert opai("storage", "mkdir", str(opai.folder / "made")).code == 0
        assert (opai.folder / "made").is_dir()
        words = ["job", "fast", "-j", "defaults", "--outputs", "o", "-p", "pip", "--wait", "echo x > o"]
        assert opai(*words).code == 0
        assert [item["name"] for item in opai("output", "list", "-j", "defaults", "-o", "json").json] == ["o"]
    finally:
        assert opai("cluster", "remove", "local").code == 0


def test_many_small_files_are_told_once_and_leave_stdout_to_the_value(opai):
    for number in range(500):
        path = opai.folder / "many" / str(number % 5) / str(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    done = opai("storage", "upload", "many", "many", "-o", "json")
    assert (done.code, done.json[0]["name"]) == (0, "many"), done.err
    assert done.err.count("500 small files go to HDFS one by one") == 1
    quiet = opai("storage", "upload", "many", "again", "-q")
    assert (quiet.code, quiet.err) == (0, "")


def test_lines_of_several_tasks_carry_their_task(opai):
    words = ["job", "submit", "--config", "-", "--follow"]
    done = opai(*words, "-o", "json", text=SEVERAL)
    assert (done.code, done.json["state"]) == (0, "SUCCEEDED"), done.err
    lines = sorted(line for line in done.err.splitlines() if " | " in line)
    assert lines == ["worker[0] | working as 0", "worker[1] | working as 1"]
    assert sorted(opai("job", "logs", "several", "-f", "-t", "worker").out.splitlines()) == lines
    assert opai("job", "logs", "several", "-t", "Worker", "-n", "1").out == "working as 1\n"
    assert opai("job", "logs", "several", "-f", "-t", "worker", "-n", "1").out == "working as 1\n"


def test_the_example_of_several_tasks_succeeds(opai):
    done = opai("job", "submit", "--config", str(EXAMPLE), "-j", "example", "--wait", "-o", "json")
    assert (done.code, done.json["state"]) == (0, "SUCCEEDED"), done.err


def test_a_preview_sends_nothing(opai):
    shown = opai("job", "submit", "--config", str(EXAMPLE), "-j", "preview", "--preview", "-o", "json")
    assert (shown.code, shown.json["name"]) == (0, "preview")
    assert opai("job", "status", "preview").code == 5


def test_validate_tells_good_from_bad(opai):
    good = opai("job", "validate", str(EXAMPLE), "-o", "json")
    assert (good.code, good.json["valid"]) == (0, True)
    bad_file = opai.folder / "bad.yaml"
    bad_file.write_text(EXAMPLE.read_text().replace("protocolVersion", "protocolVersoin", 1))
    bad = opai("job", "validate", "bad.yaml", "-o", "json")
    assert (bad.code, bad.json["valid"], bad.error["code"]) == (1, False, "Spec")
    assert {"severity", "path", "message", "hint", "file", "line", "column"} <= set(bad.json["problems"][0])
    table = opai("job", "validate", "bad.yaml")
    assert table.out.startswith("bad.yaml:")
    assert opai("job", "submit", "--config", "bad.yaml").code == 1
    assert opai("job", "validate", sys.executable, "-o", "json").json["valid"] is False
    assert opai("job", "validate", sys.executable).code == 1
    assert opai("job", "validate", "none.yaml").code == 2


def test_a_running_job_is_stopped_and_keeps_the_cluster_from_stopping(opai):
    assert opai("job", "fast", "-j", "sleeper", "echo ready; sleep 600").code == 0
    late = opai("job", "wait", "sleeper", "--timeout", "0.2", "-o", "json")
    assert (late.code, late.out, late.error["code"]) == (1, "", "WaitTimeout")
    refused = opai("local", "stop", "-o", "json")
    assert (refused.code, refused.error["code"]) == (1, "LocalCluster")
    assert "--kill" in refused.error["hint"]
    (stopped,) = opai("job", "stop", "sleeper", "-o", "json").json
    assert (stopped["name"], stopped["state"] in ("STOPPING", "STOPPED")) == ("sleeper", True)
    ended = opai("job", "wait", "sleeper", "-o", "json")
    assert (ended.code, ended.json[0]["state"]) == (3, "STOPPED")


def test_breaking_off_leaves_the_job_running(opai):
    process = opai.start("job", "fast", "--follow", "-j", "followed", "echo ready; sleep 600")
    assert select.select([process.stdout], [], [], TIMEOUT_S)[0], "the job's first line did not come"
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, out) == (130, "")
    assert "follow again with `opai job logs -f followed`, stop it with `opai job stop followed`" in err
    assert "Traceback" not in err
    assert opai("job", "status", "followed", "-o", "json").json["state"] == "RUNNING"
    assert opai("job", "stop", "followed").code == 0


def test_a_reader_that_leaves_early_is_no_error(opai):
    assert opai("job", "fast", "-j", "chatty", "--wait", "seq 200000").code == 0
    process = opai.start("job", "logs", "-q", "chatty")
    assert process.stdout.readline() == "1\n"
    process.stdout.close()
    process.stdout = None
    assert process.communicate(timeout=TIMEOUT_S)[1] == ""
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("words", "code", "kind"),
    [
        (["job", "listt"], 2, "Usage"),
        (["job", "list", "--sate", "RUNNING"], 2, "Usage"),
        (["default", "add", "imgae=x"], 2, "UnknownSetting"),
        (["job", "status", "not-there"], 5, "JobNotFound"),
        (["job", "logs", "not-there"], 5, "JobNotFound"),
        (["job", "logs", "-f", "not-there"], 5, "JobNotFound"),
        (["job", "wait", "not-there"], 5, "JobNotFound"),
        (["job", "stop", "not-there"], 5, "JobNotFound"),
        (["job", "config", "not-there"], 5, "JobNotFound"),
        (["output", "list", "-j", "not-there"], 5, "JobNotFound"),
        (["job", "list", "-a", "not-there"], 5, "UnknownCluster"),
    ],
)
def test_errors_have_their_code_and_leave_stdout_empty(opai, words, code, kind):
    done = opai(*words, "-o", "json")
    assert (done.code, done.out, done.error["code"]) == (code, "", kind)
    plain = opai(*words)
    assert (plain.code, plain.out) == (code, "")
    assert plain.err.startswith("error: ")


def test_another_account_of_the_same_cluster_sees_the_same_jobs(opai, ended):
    known = opai("local", "credentials", "-o", "json").json
    add = ["cluster", "add", "-a", "other", "--pai-uri", known["uri"], "--user", known["user"], "-o", "json"]
    wrong = opai(*add, "--password-stdin", text="not-the-password\n")
    assert (wrong.code, wrong.error["code"]) == (4, "Authentication")
    right = opai(*add, "--password-stdin", text=known["password"] + "\n")
    assert right.code == 0, right.err
    assert (right.json[0]["alias"], right.json[0]["passwd"], right.json[0]["token"]) == (
        "other",
        "***",
        "***",
    )
    assert known["password"] not in right.out + right.err
    try:
        assert "ended" in opai("job", "list", "--name", "-a", "other", "--limit", "0").out.split()
    finally:
        assert opai("cluster", "remove", "other").code == 0
    assert opai("cluster", "list", "--name").out == "local\n"


def test_a_secret_is_nowhere_to_be_seen(opai):
    (opai.folder / "secret").write_text("hush-hush\n")
    words = ["job", "fast", "-j", "secretive", "--secret", "KEY=@secret", "--wait", "-o", "json"]
    done = opai(*words, '[ "$KEY" = "hush-$(echo hush)" ]')
    assert done.code == 0, done.err
    shown = [
        done.out,
        done.err,
        opai("job", "config", "secretive").out,
        opai("job", "status", "secretive").out,
    ]
    assert not any("hush-hush" in text for text in shown)


@pytest.mark.parametrize(
    "words",
    [
        ["job", "list", "--state", "FAILED"],
        ["job", "list", "--name", "--limit", "0"],
        ["job", "config", "ended"],
        ["job", "wait", "ended"],
        ["job", "logs", "ended", "--stdout"],
        ["output", "list", "-j", "ended"],
        ["cluster", "info"],
        ["cluster", "resources"],
        ["cluster", "list"],
        ["default", "list"],
        ["local", "status"],
        ["local", "credentials"],
    ],
)
def test_the_engine_returns_what_the_command_shows(opai, ended, engine, words, capsys):
    assert engine.process(words) == opai(*words, "-o", "json").json
    assert capsys.readouterr() == ("", "")


def test_the_embedded_cluster_stops_and_starts_again_with_its_jobs(opai, ended):
    before = opai("local", "status", "-o", "json").json
    assert before["running"] is True
    stopped = opai("local", "stop", "--kill", "-o", "json")
    assert (stopped.code, stopped.json["running"]) == (0, False)
    assert opai("job", "list", "--name", "--state", "FAILED", "-o", "json").json.count("ended") == 1
    after = opai("local", "status", "-o", "json").json
    assert (after["running"], after["uri"]) == (True, before["uri"])
    assert after["pid"] != before["pid"]
