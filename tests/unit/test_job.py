# SPDX-License-Identifier: MIT
"""Building, looking at and submitting a job."""

from __future__ import annotations

import html
import io
import json
import os
import re
import subprocess
import sys
import tarfile

import pytest

from openpaisdk.errors import (
    ClusterConnectionError,
    ClusterError,
    ConfigError,
    JobExistsError,
    JobNotFoundError,
    OpenPaiError,
    SourceError,
    SpecError,
    StorageExistsError,
    StorageNotFoundError,
    StorageUnavailableError,
    UsageError,
)
from openpaisdk.job import Job, JobHandle
from openpaisdk.job.commands import command_lines, export_lines, named_paths, quote
from openpaisdk.job.handle import attach
from openpaisdk.job.prelude import MARKER


class FakeStorage:
    """Keeps files in a dict; folders are what files are in."""

    uri = "webhdfs://127.0.0.1:1"

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.fetched: list[str] = []
        self.fails = False
        self.open_error: Exception | None = None

    def exists(self, path):
        return any(name == path or name.startswith(f"{path}/") for name in self.files)

    def upload(self, local_path, remote_path, overwrite=False):
        if self.fails:
            raise ClusterError("the disk is full")
        if not overwrite and remote_path in self.files:
            raise StorageExistsError(remote_path)
        with open(local_path, "rb") as file:
            self.files[remote_path] = file.read()

    def download(self, remote_path, local_path, overwrite=False, **_):
        name = remote_path.rpartition("/")[2]
        target = os.path.join(local_path, name) if os.path.isdir(local_path) else local_path
        if self.status(remote_path)["type"] == "directory":
            os.makedirs(target, exist_ok=True)
            for item in self.list(remote_path):
                self.download(f"{remote_path}/{item['name']}", target, overwrite)
            return
        if os.path.exists(target) and not overwrite:
            raise StorageExistsError(target)
        self.fetched.append(target)
        with open(target, "wb") as file:
            file.write(self.files[remote_path])

    def status(self, path):
        if not self.exists(path):
            raise StorageNotFoundError(path)
        return {"name": path.rpartition("/")[2], "type": "file" if path in self.files else "directory"}

    def delete(self, path):
        if path not in self.files:
            raise StorageNotFoundError(path)
        del self.files[path]

    def list(self, path):
        names = {name[len(path) + 1 :].split("/")[0] for name in self.files if name.startswith(f"{path}/")}
        return [self.status(f"{path}/{name}") for name in sorted(names)]

    def open(self, path):
        if self.open_error is not None:
            raise self.open_error
        return io.BytesIO(self.files[path])


class FakeCluster:
    """Takes documents and remembers what it was asked, in order."""

    alias = "fake"
    user = "alice"
    workspace = "/user/alice"

    def __init__(self, *, is_embedded: bool = True, storage_uri: str | None = "http://hdfs:9870") -> None:
        self.is_embedded = is_embedded
        self.sent: list[dict] = []
        self.configs: dict[str, dict] = {}
        self.then_has: dict | None = None
        self.taken = {"old"}
        self.error: Exception | None = None
        self.files = FakeStorage()
        self.uri = storage_uri
        self.open_error: Exception | None = None

    def submit(self, document):
        if self.error is not None:
            if self.then_has is not None:
                self.configs[document["name"]] = self.then_has or document
            raise self.error
        self.sent.append(document)
        return {"name": document["name"], "user": "alice", "cluster": "fake", "link": "http://x/jobs/1"}

    def job_detail(self, name):
        if name.rpartition("~")[2] not in self.taken:
            raise JobNotFoundError(f"no job {name!r}")
        return {"name": name}

    job_status = job_detail

    def job_config(self, name):
        plain = name.rpartition("~")[2]
        known = {document["name"]: document for document in self.sent} | self.configs
        if plain in known:
            return known[plain]
        if plain not in self.taken:
            raise JobNotFoundError(f"no job {name!r}")
        return {"extras": {"openpaisdk": {"workspace": "/user/bob"}}}

    def job_storage(self):
        return self.files

    def storage_at(self, uri):
        storage = FakeStorage()
        storage.files["/there"] = b""
        storage.open_error = self.open_error
        return storage, "/there"

    def storage_uri(self):
        if self.uri is None:
            raise ConfigError("no storage is known")
        return self.uri

    def wait(self, names, timeout_s=None):
        return [{"name": name, "state": "SUCCEEDED"} for name in names]

    def link(self, name):
        return f"http://x/{name}"


@pytest.fixture
def cluster():
    return FakeCluster()


def commands(job_or_document, role="main"):
    document = job_or_document if isinstance(job_or_document, dict) else job_or_document.to_dict()
    return document["taskRoles"][role]["commands"]


def run(text: str) -> str:
    script = "set -o errexit -o nounset -o pipefail\n" + text
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout


# --- building ----------------------------------------------------------------------------------------


def test_a_built_job_is_a_document_of_the_protocol():
    job = (
        Job("train")
        .set_image("python:3.12")
        .add_task_role("ps", "python ps.py", ports={"grpc": 1}, min_succeeded=-1)
        .add_task_role(
            "worker", ["a", "b"], instances=2, image="cuda:12", gpu=1, memory_mb="4g", shm_mb=64, retry=3
        )
        .set_parameters({"lr": 0.1})
        .set_virtual_cluster("vc1")
        .set_retry(2)
        .set_description("a test")
        .set_gang_allocation(False)
    )
    document = job.to_dict()
    assert document["prerequisites"] == [
        {"type": "dockerimage", "name": "image", "uri": "python:3.12"},
        {"type": "dockerimage", "name": "image1", "uri": "cuda:12"},
    ]
    assert document["taskRoles"]["ps"] == {
        "instances": 1,
        "completion": {"minSucceededInstances": -1},
        "dockerImage": "image",
        "resourcePerInstance": {"cpu": 1, "memoryMB": 1024, "gpu": 0, "ports": {"grpc": 1}},
        "commands": ["python ps.py"],
    }
    assert document["taskRoles"]["worker"]["resourcePerInstance"]["memoryMB"] == 4096
    assert document["taskRoles"]["worker"]["extraContainerOptions"] == {"shmMB": 64}
    assert document["taskRoles"]["worker"]["taskRetryCount"] == 3
    assert document["defaults"] == {"virtualCluster": "vc1"}
    assert document["jobRetryCount"] == 2
    assert document["extras"]["gangAllocation"] is False
    assert document["extras"]["submitFrom"].startswith("openpaisdk/")


def test_a_built_job_is_valid_as_a_cluster_checks_it():
    job = Job("train").add_task_role("main", "true", ports={"x": 2}).set_secrets({"k": "v"})
    assert [problem for problem in job.validate() if problem["severity"] == "error"] == []
    fast = Job.fast(
        "f", ["a", "<% $parameters.x %>"], parameters={"x": "it's"}, env={"A": "b"}, secrets={"K": "v"}
    )
    assert [problem for problem in fast.validate() if problem["severity"] == "error"] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cpu": 0}, "cpu of 'main' must be a whole number, at least 1"),
        ({"gpu": -1}, "gpu of 'main'"),
        ({"memory_mb": 0}, "memory of 'main' in MB"),
        ({"memory_mb": "much"}, "memory 'much' is not a size"),
        ({"instances": True}, "instances of 'main'"),
        ({"ports": {"my-port": 1}}, "port label 'my-port'"),
        ({"ports": {"x": 0}}, "number of 'x' ports"),
        ({"image": "a b"}, "docker image 'a b'"),
        ({"commands": []}, "has no command"),
        ({"min_failed": -2}, "minFailedInstances"),
    ],
)
def test_values_that_make_no_sense_are_refused_at_once(options, message):
    with pytest.raises(UsageError, match=message):
        Job("x").add_task_role("main", options.pop("commands", "true"), **options)


@pytest.mark.parametrize("name", ["", "my job", "a.b", "a~b", "x" * 256, "n\n"])
def test_names_that_clusters_refuse_are_refused(name):
    with pytest.raises(UsageError, match="job name"):
        Job(name)
    job = Job("fine")
    with pytest.raises(UsageError):
        job.name = name
    assert job.name == "fine"


def test_a_name_is_made_up_where_none_is_given():
    assert Job().name != Job().name


def test_a_task_role_cannot_be_added_twice_but_removed():
    job = Job("x").add_task_role("a", "true")
    with pytest.raises(UsageError, match="task role 'a' already"):
        job.add_task_role("a", "true")
    assert job.remove_task_role("a").task_roles == []
    with pytest.raises(UsageError, match="no task role 'a'"):
        job.remove_task_role("a")


def test_what_is_returned_can_be_changed_without_changing_the_job():
    job = Job("x").add_task_role("a", "true")
    job.to_dict()["taskRoles"]["a"]["commands"].append("false")
    assert commands(job, "a") == ["true"]


def test_outputs_must_stay_below_the_working_folder():
    assert Job("x").add_outputs("./a//b", "c/").outputs == ["a/b", "c"]
    for path in ("/etc/x", "../x", "a/../../x", ".", ""):
        with pytest.raises(UsageError, match="must be a path below"):
            Job("x").add_outputs(path)


# --- secrets -----------------------------------------------------------------------------------------


def test_secrets_are_shown_by_nothing_unless_asked():
    job = Job("x").add_task_role("a", "true").set_secrets({"k": "hush"})
    job.set_image("private", auth={"username": "u", "password": "hush"})
    assert "hush" not in repr(job) + str(job) + json.dumps(job.preview())
    assert job.preview()["secrets"] == {"k": "***"}
    assert job.preview()["prerequisites"][0]["auth"] == {"username": "u", "password": "***"}
    assert job.preview(show_secrets=True) == job.to_dict()


def test_a_reference_to_a_secret_stays_readable():
    job = Job("x").set_image("private", auth={"password": "<% $secrets.p %>"}).add_task_role("a", "true")
    assert job.preview()["prerequisites"][0]["auth"]["password"] == "<% $secrets.p %>"


def test_a_file_with_secrets_is_for_its_owner_only(tmp_path):
    job = Job("x").add_task_role("a", "true")
    job.save(tmp_path / "open.yaml")
    job.set_secrets({"k": "hush"}).save(tmp_path / "closed.yaml")
    assert (tmp_path / "open.yaml").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "closed.yaml").stat().st_mode & 0o777 == 0o600
    assert Job.load(tmp_path / "closed.yaml").to_dict() == job.to_dict()


NASTY = [
    "plain",
    "p&ss<w>\"'",
    "it's $HOME `id` \\ !x",
    "a\nb",
    "&lt;",
    "&amp;amp;",
    "",
    " x ",
    "<% $secrets.K %>",
]


@pytest.mark.parametrize("value", NASTY)
def test_a_secret_reaches_the_command_as_it_is(value):
    text = "\n".join(export_lines({}, ["K"]))
    assert value not in text or value in ("", "&lt;", "<% $secrets.K %>")
    # a cluster renders secrets HTML-escaped, once
    rendered = text.replace("<% $secrets.K %>", html.escape(value, quote=True))
    assert run(rendered + "\nprintf '[%s]' \"$K\"") == f"[{value}]"


@pytest.mark.parametrize("name", ["1a", "a-b", "", "a b", "a\n", "ü"])
def test_a_variable_needs_a_name_that_the_shell_knows(name):
    with pytest.raises(UsageError, match="cannot be the name of a variable"):
        export_lines({name: "x"})
    with pytest.raises(UsageError):
        export_lines({}, [name])


# --- one command line --------------------------------------------------------------------------------


@pytest.mark.parametrize("word", [*NASTY, "a'b", "*", "~", "#x", "-n", "ü", "\t", "${X}"])
def test_words_are_handed_over_exactly(word):
    assert run(command_lines(["printf", "[%s]", word, "end"])) == f"[{word}][end]"
    assert run("printf '[%s]' " + quote(word)) == f"[{word}]"


def test_the_first_word_is_a_program_whatever_it_looks_like():
    with pytest.raises(subprocess.CalledProcessError) as caught:
        run(command_lines(["X=1", "true"]))
    assert "X=1: command not found" in caught.value.stderr
    with pytest.raises(subprocess.CalledProcessError) as caught:
        run(command_lines(["if", "true"]))
    assert "if: command not found" in caught.value.stderr


def test_one_word_is_a_shell_command_line():
    assert run(command_lines(["printf a | tr a b; printf $((1 + 1))"])) == "b2"


@pytest.mark.parametrize("words", [[], [""], ["  "], ["a\0"], ["a", "b\0"]])
def test_an_empty_command_is_refused(words):
    with pytest.raises(UsageError):
        command_lines(words)


@pytest.mark.parametrize("value", ["plain", "it's", "a b; $(id)", 'say "x"', 3, 0.5, True])
def test_parameters_are_rendered_into_words_and_stay_one_word(value):
    text = command_lines(["printf", "[%s]", "--x=<% $parameters.x %>", "y"], {"x": value})
    rendered = text.replace("<% $parameters.x %>", str(value))
    assert run(rendered) == f"[--x={value}][y]"


def test_what_a_template_may_become_is_not_trusted_where_it_is_not_known():
    text = command_lines(["printf", "[%s]", "<% $data.uri.0 %>"])
    assert run(text.replace("<% $data.uri.0 %>", "it's; echo no")) == "[it's; echo no]"
    (line,) = export_lines({"A": "<% $parameters.unknown %>"})
    assert run(line.replace("<% $parameters.unknown %>", "it's") + '\nprintf %s "$A"') == "it's"


def test_a_fast_job_exports_variables_before_its_command():
    job = Job.fast(
        "x", ["env"], env={"A": "b c"}, image="img", cpu=2, gpu=1, memory="2g", retry=1, virtual_cluster="v"
    )
    assert commands(job) == ["export A='b c'", "env"]
    assert job.task_roles == ["main"]
    assert job.to_dict()["taskRoles"]["main"]["resourcePerInstance"] == {"cpu": 2, "memoryMB": 2048, "gpu": 1}
    assert job.to_dict()["jobRetryCount"] == 1


def test_paths_that_a_command_names_are_found():
    assert named_paths(["python", "./train.py", "--config=conf/a.yaml", "/abs", "../up", "a/../b"]) == [
        "python",
        "train.py",
        "--config=conf/a.yaml",
        "conf/a.yaml",
        "b",
    ]
    assert "data.txt" in named_paths(["sort <data.txt | uniq; sh 'my file.sh'"])
    assert "my file.sh" in named_paths(["sort <data.txt | uniq; sh 'my file.sh'"])
    assert named_paths(["echo 'unbalanced"]) == ["echo", "'unbalanced"]


def test_files_that_the_command_names_are_sent_and_told(tmp_path):
    (tmp_path / "train.py").write_text("")
    (tmp_path / "big.bin").write_text("")
    (tmp_path / ".gitignore").write_text("*.bin\n")
    job = Job.fast("x", "python train.py big.bin none.py", working_directory=str(tmp_path))
    assert job.auto_sources == job.sources == ["train.py"]
    assert job.notes == ["sending train.py: the command names it", "not sending big.bin: .gitignore: *.bin"]
    silent = Job.fast("x", "python train.py", working_directory=str(tmp_path), auto_sources=False)
    assert silent.sources == []


# --- loading and changing ----------------------------------------------------------------------------


def test_a_document_must_be_a_mapping():
    with pytest.raises(SpecError, match="must be a mapping, not list"):
        Job.from_dict([])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        Job.load(tmp_path / "nowhere.yaml")


def test_a_broken_document_is_refused_before_it_is_sent(cluster):
    job = Job.from_dict({"protocolVersion": 2, "name": "x", "type": "job", "taskRoles": {}})
    with pytest.raises(SpecError) as caught:
        job.submit(cluster)
    assert caught.value.problems
    assert "has 1 problem" in str(caught.value)
    assert cluster.sent == []


def test_a_job_without_task_roles_is_refused(cluster):
    with pytest.raises(SpecError):
        Job("x").submit(cluster)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("defaults.virtualCluster", "x", "x"),
        ("defaults::virtualCluster", "7", "7"),
        ("taskRoles.worker.instances", "2", 2),
        ("taskRoles.worker.resourcePerInstance.ports.tb", "1", 1),
        ("taskRoles.worker.commands", "[a, b]", ["a", "b"]),
        ("taskRoles.worker.commands.0", "echo", "echo"),
        ("parameters.lr", "0.1", 0.1),
        ("parameters.deep.er", "no", "no"),
        ("parameters::a.b", "1", 1),
        ("prerequisites.image.uri", "other:1", "other:1"),
        ("prerequisites.0.uri", "other:1", "other:1"),
        ("extras.gangAllocation", "false", False),
        ("jobRetryCount", "3", 3),
        ("description", "12", "12"),
        ("jobRetryCount", 4, 4),
    ],
)
def test_fields_are_set_by_their_path(path, value, expected):
    job = Job("x").add_task_role("worker", "true").update(path, value)
    found = job.to_dict()
    for key in path.split("::") if "::" in path else path.split("."):
        if isinstance(found, list):
            found = found[int(key)] if key.isdigit() else next(item for item in found if item["name"] == key)
        else:
            found = found[key]
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("taskRole.worker.instances", "did you mean 'taskRoles'?"),
        ("taskRoles.workr.instances", "did you mean 'worker'?"),
        ("taskRoles.worker.instance", "did you mean 'instances'?"),
        ("taskRoles.worker.resourcePerInstance.memory", None),
        ("prerequisites.imag.uri", "did you mean 'image'?"),
        ("name.x", None),
        ("taskRoles..instances", "taskRoles.worker.instances"),
        ("", None),
        ("taskRoles.worker.commands.7", None),
    ],
)
def test_unknown_fields_are_refused_with_the_nearest_name(path, hint):
    job = Job("x").add_task_role("worker", "true")
    before = job.to_dict()
    with pytest.raises(UsageError) as caught:
        job.update(path, "1")
    assert hint is None or hint in caught.value.hint
    assert job.to_dict() == before


# --- submitting --------------------------------------------------------------------------------------


def test_a_document_without_wishes_is_sent_as_it_is(cluster):
    job = Job("x").add_task_role("a", "true").set_secrets({"k": "v"})
    handle = job.submit(cluster)
    assert cluster.sent == [job.to_dict()]
    assert (handle.name, handle.user, handle.link) == ("x", "alice", "http://x/jobs/1")


def test_the_fast_path_on_the_embedded_cluster_adds_only_the_workspace(cluster):
    Job.fast("x", ["echo", "hi"], outputs=["m"]).submit(cluster)
    (document,) = cluster.sent
    assert commands(document) == ["echo hi"]
    assert document["extras"]["openpaisdk"] == {"outputs": ["m"], "workspace": "/user/alice"}
    assert cluster.files.files == {}


def test_sources_are_uploaded_and_fetched_by_what_stands_before_the_command(cluster, tmp_path):
    (tmp_path / "train.py").write_text("print()")
    (tmp_path / "requirements.txt").write_text("x")
    job = Job.fast(
        "x",
        "python train.py",
        sources=["requirements.txt"],
        packages=["numpy<2"],
        env={"PIP_INDEX_URL": "http://x"},
        working_directory=str(tmp_path),
    )
    preview = job.preview(cluster=cluster)
    assert cluster.files.files == {}
    job.submit(cluster)
    (document,) = cluster.sent
    assert document == preview
    assert list(cluster.files.files) == [f"/user/alice/jobs/x/code/{job.archive_name}"]
    assert re.fullmatch(r"sources-[0-9a-f]{8}\.tar\.gz", job.archive_name)
    (data,) = cluster.files.files.values()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getnames() == [
            ".openpaisdk/start.sh",
            ".openpaisdk/bootstrap.py",
            "requirements.txt",
            "train.py",
        ]
    export, prelude, command = commands(document)
    assert (export, command) == ("export PIP_INDEX_URL=http://x", "python train.py")
    assert prelude.startswith(MARKER)
    assert "paisdk_install=(-r requirements.txt 'numpy<2')" in prelude
    assert document["extras"]["openpaisdk"] == {
        "packages": ["numpy<2"],
        "requirements": ["requirements.txt"],
        "workspace": "/user/alice",
        "code": job.archive_name,
    }
    assert len(json.dumps(document)) < 5_500


def test_packages_alone_bring_an_archive_that_is_not_asked_for_again(cluster):
    job = Job.fast("x", "run", packages=["numpy"])
    job.submit(cluster)
    (name,) = cluster.files.files
    assert name == f"/user/alice/jobs/x/code/{job.archive_name}"
    prelude, own = commands(cluster.sent[0])
    assert (own, f"paisdk_archive={job.archive_name}" in prelude) == ("run", True)
    assert "code" not in cluster.sent[0]["extras"]["openpaisdk"]
    again = Job.from_dict(cluster.sent[0])
    again.name = "y"
    again.submit(cluster)
    again = Job.from_dict(cluster.sent[0]).take_code_from(cluster, "x")
    again.name = "z"
    again.submit(cluster)
    assert len(cluster.files.files) == 3
    assert len(set(cluster.files.files.values())) == 1


def test_archives_on_a_storage_are_named_and_not_sent(cluster, tmp_path):
    job = Job.fast(
        "x",
        "ls images/a",
        sources=["hdfs:///data//images.tar", "hdfs://nn/b.tgz"],
        working_directory=str(tmp_path),
    )
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a").touch()
    assert (job.sources, job.archives) == ([], ["hdfs:///data/images.tar", "webhdfs://nn:9870/b.tgz"])
    job.submit(cluster)
    (document,) = cluster.sent
    assert len(cluster.files.files) == 1  # the programs
    prelude, _ = commands(document)
    assert "paisdk_archives=(hdfs:///data/images.tar images webhdfs://nn:9870/b.tgz b)\n" in prelude
    assert document["extras"]["openpaisdk"] == {"archives": job.archives, "workspace": "/user/alice"}
    again = Job.from_dict(document)
    again.name = "y"
    assert again.preview(cluster=cluster) == {
        **document,
        "name": "y",
        "taskRoles": again.preview(cluster=cluster)["taskRoles"],
    }
    assert again.archives == job.archives


def test_files_in_a_folder_that_an_archive_brings_are_not_sent_because_the_command_names_them(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("images/a", "b"):
        (tmp_path / name).touch()
    job = Job.fast(
        "x", ["cat", "images/a", "b"], sources=["hdfs:///images.tar"], working_directory=str(tmp_path)
    )
    assert job.sources == ["b"]


@pytest.mark.parametrize(
    ("uri", "read_at"),
    [
        ("webhdfs://nn1,nn2/a.tar", "webhdfs://nn1:9870,nn2:9870/a.tar"),
        ("hdfs://bob@nn1:8020,nn2:8020/a.tar", "webhdfs://bob@nn1:9870,nn2:9870/a.tar"),
        ("swebhdfs://nn1:1/a.tar", "swebhdfs://nn1:1/a.tar"),
    ],
)
def test_an_archive_is_read_at_the_web_address_of_all_name_nodes(uri, read_at):
    job = Job("x")
    job.add_sources(uri)
    assert job.archives == [read_at]


@pytest.mark.parametrize("uri", ["webhdfs://nn1:9870,nn2:9870", "http://nn1:9870;http://nn2:9870/webhdfs/v1"])
def test_a_job_is_told_all_name_nodes_of_its_storage(uri):
    cluster = FakeCluster(is_embedded=False, storage_uri=uri)
    document = Job.fast("x", "true", outputs=["model"]).preview(cluster=cluster)
    assert "webhdfs://nn1:9870,nn2:9870/user/" in str(document)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("s3://bucket/a.tar", "which reads HDFS only"),
        ("hdfs:///a.zip", "is no archive by its name"),
        ("hdfs:///...tar", "is no archive by its name"),
        ("hdfs:///.openpaisdk.tar", "is no archive by its name"),
        ("hdfs:///a/", "is no archive by its name"),
        ("webhdfs:///a.tar", "names no host"),
        ("hdfs:///a/../b.tar", "is not a path from the root"),
    ],
)
def test_an_address_that_a_job_cannot_fetch_is_refused(uri, message):
    with pytest.raises(OpenPaiError, match=message):
        Job("x").add_sources(uri)


def test_an_archive_does_not_take_the_place_of_another_source(cluster, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a").touch()
    for sources in (["images", "hdfs:///images.tar"], ["hdfs:///a/images.tgz", "hdfs:///b/images.tar"]):
        job = Job.fast("x", "true", sources=sources, working_directory=str(tmp_path))
        with pytest.raises(SourceError, match="two sources would be 'images'"):
            job.submit(cluster)
    assert cluster.sent == []


def test_an_archive_that_cannot_be_read_is_told_before_anything_is_sent(cluster):
    cluster.open_error = StorageNotFoundError("there is no '/a.tar'")
    with pytest.raises(StorageNotFoundError, match="there is no"):
        Job.fast("x", "true", sources=["hdfs:///a.tar"]).submit(cluster)
    assert (cluster.sent, cluster.files.files) == ([], {})


def test_an_archive_on_a_storage_that_only_tasks_reach_is_sent_for(cluster):
    cluster.open_error = StorageUnavailableError("no route")
    Job.fast("x", "true", sources=["webhdfs://inside:9870/a.tar"]).submit(cluster)
    assert len(cluster.sent) == 1


def test_many_roles_fit_into_a_document(cluster):
    job = Job("x").add_packages("numpy")
    for number in range(20):
        job.add_task_role(f"role{number}", "run")
    assert len(json.dumps(job.preview(cluster=cluster))) < 100_000


def test_on_a_real_cluster_the_task_is_told_its_workspace_and_stores_outputs():
    cluster = FakeCluster(is_embedded=False)
    job = Job.fast("x", "exec run", outputs=["m", "*.log"])
    document = job.preview(cluster=cluster)
    prelude, *own = commands(document)
    assert own == ["(", "exec run", ")"]
    assert "paisdk_workspace=webhdfs://hdfs:9870/user/alice\n" in prelude
    assert "paisdk_outputs=(m '*.log')" in prelude
    assert 'paisdk_output="output"' in prelude
    assert "<%" not in prelude


def test_several_tasks_store_into_folders_of_their_own():
    cluster = FakeCluster(is_embedded=False)
    job = Job("x").add_task_role("My_Role", "true", instances=2).add_task_role("b", "true").add_outputs("m")
    document = job.preview(cluster=cluster)
    assert (
        'paisdk_output="output/myrole-$PAI_CURRENT_TASK_ROLE_CURRENT_TASK_INDEX"'
        in commands(document, "My_Role")[0]
    )
    assert 'paisdk_output="output/b-$PAI_' in commands(document, "b")[0]


def test_a_real_cluster_without_storage_runs_jobs_that_need_none():
    cluster = FakeCluster(is_embedded=False, storage_uri=None)
    assert commands(Job.fast("x", "run").preview(cluster=cluster)) == ["run"]
    document = Job.fast("x", "run", packages=["numpy<2", "-x"]).preview(cluster=cluster)
    install, own = commands(document)
    assert own == "run"
    assert "-- 'numpy<2' -x >&2 || exit 83" in install
    assert commands(Job.from_dict(document)) == ["run"]
    with pytest.raises(ConfigError):
        Job.fast("x", "run", outputs=["m"]).preview(cluster=cluster)
    other = FakeCluster(is_embedded=False, storage_uri="s3://bucket")
    with pytest.raises(ConfigError, match="a WebHDFS is wanted"):
        Job.fast("x", "run", outputs=["m"]).preview(cluster=other)


def with_sources(tmp_path, name="x"):
    (tmp_path / "train.py").write_text("print()")
    return Job.fast(name, "python train.py", working_directory=str(tmp_path))


def test_a_taken_name_leaves_the_files_of_the_old_job_alone(cluster, tmp_path):
    cluster.files.files["/user/alice/jobs/old/code/sources.tar.gz"] = b"precious"
    with pytest.raises(JobExistsError, match="'old' exists already"):
        with_sources(tmp_path, "old").submit(cluster)
    assert cluster.files.files == {"/user/alice/jobs/old/code/sources.tar.gz": b"precious"}
    assert cluster.sent == []


def test_a_refused_job_leaves_no_files(cluster, tmp_path):
    cluster.error = ClusterError("virtual cluster x does not exist")
    with pytest.raises(ClusterError):
        with_sources(tmp_path).submit(cluster)
    assert cluster.files.files == {}


def test_a_failing_upload_sends_no_job(cluster, tmp_path):
    cluster.files.fails = True
    with pytest.raises(ClusterError):
        with_sources(tmp_path).submit(cluster)
    assert cluster.sent == []


OTHERS = {"extras": {"openpaisdk": {"code": "sources-0.tar.gz"}}}
CUT = ClusterConnectionError("broken pipe")


def test_a_lost_race_for_a_name_touches_nothing_of_the_winner(cluster, tmp_path):
    others = "/user/alice/jobs/x/code/sources-0.tar.gz"
    cluster.files.files[others] = b"precious"
    cluster.error, cluster.then_has = JobExistsError("a race", status=409), OTHERS
    with pytest.raises(JobExistsError):
        with_sources(tmp_path).submit(cluster)
    assert cluster.files.files == {others: b"precious"}


@pytest.mark.parametrize("error", [CUT, ClusterError("oops", status=500), JobExistsError("x", status=409)])
def test_a_job_that_is_there_after_all_keeps_its_files_and_counts_as_sent(cluster, tmp_path, error):
    cluster.error, cluster.then_has = error, {}
    handle = with_sources(tmp_path).submit(cluster)
    assert (handle.name, len(cluster.files.files)) == ("x", 1)


@pytest.mark.parametrize("error", [CUT, ClusterError("oops", status=502), KeyboardInterrupt()])
def test_files_are_removed_where_a_second_look_finds_no_job(cluster, tmp_path, error):
    cluster.error = error
    with pytest.raises(type(error)):
        with_sources(tmp_path).submit(cluster)
    assert cluster.files.files == {}


def test_files_stay_where_nobody_can_tell_whether_there_is_a_job(cluster, tmp_path, monkeypatch):
    cluster.error = CUT

    def fail(name):
        raise CUT

    monkeypatch.setattr(cluster, "job_config", fail)
    with pytest.raises(ClusterConnectionError):
        with_sources(tmp_path).submit(cluster)
    assert len(cluster.files.files) == 1


def test_a_source_that_is_gone_stops_before_anything_is_sent(cluster, tmp_path):
    job = with_sources(tmp_path)
    (tmp_path / "train.py").unlink()
    with pytest.raises(SourceError):
        job.submit(cluster)
    assert cluster.sent == []


def test_a_sent_document_can_be_taken_over_for_another_cluster(cluster, tmp_path):
    real = FakeCluster(is_embedded=False)
    first = with_sources(tmp_path)
    first.add_outputs("m").add_packages("numpy").submit(real)
    again = Job.from_dict(real.sent[0])
    assert commands(again) == ["python train.py"]
    again.name = "y"
    with pytest.raises(SourceError, match="needs the sources of the job"):
        again.submit(cluster)
    again.take_code_from(real, "alice~x").submit(cluster)
    (name,) = cluster.files.files
    assert name == f"/user/alice/jobs/y/code/{again.archive_name}"
    assert list(cluster.files.files.values()) == list(real.files.files.values())
    prelude, own = commands(cluster.sent[0])
    assert own == "python train.py"
    assert "paisdk_workspace=\n" in prelude
    assert cluster.sent[0]["extras"]["openpaisdk"]["workspace"] == "/user/alice"


# --- handles -----------------------------------------------------------------------------------------


def test_a_handle_waits_and_fetches_outputs(cluster, tmp_path):
    handle = Job.fast("x", "true", outputs=["m"]).submit(cluster)
    assert handle.wait() == {"name": "x", "state": "SUCCEEDED"}
    cluster.files.files["/user/alice/jobs/x/output/m"] = b"model"
    assert [item["name"] for item in handle.outputs.list()] == ["m"]
    assert handle.outputs.read("m") == b"model"
    assert handle.outputs.download(to=tmp_path / "got") == [str(tmp_path / "got" / "m")]
    assert (tmp_path / "got" / "m").read_bytes() == b"model"


@pytest.fixture
def stored(cluster):
    folder = "/user/alice/jobs/x/output"
    for name in ("m.bin", "logs/a.txt", "logs/b/c.txt"):
        cluster.files.files[f"{folder}/{name}"] = name.encode()
    return Job.fast("x", "true", outputs=["m"]).submit(cluster).outputs


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_folder_that_is_there_already_is_filled_and_not_nested(stored, tmp_path):
    expected = ["logs/a.txt", "logs/b/c.txt"]
    for _ in range(2):
        assert stored.download("logs", to=tmp_path, overwrite=True) == [str(tmp_path / "logs")]
        assert files_in(tmp_path) == expected
    (tmp_path / "logs" / "a.txt").unlink()
    (tmp_path / "logs" / "b" / "c.txt").unlink()
    stored.download("logs/b", "logs/a.txt", to=tmp_path)
    assert files_in(tmp_path) == expected


def test_nothing_is_fetched_where_a_local_file_is_in_the_way(stored, cluster, tmp_path):
    (tmp_path / "logs" / "b").mkdir(parents=True)
    (tmp_path / "logs" / "b" / "c.txt").write_text("mine")
    with pytest.raises(StorageExistsError, match=r"logs/b/c\.txt' is there already"):
        stored.download(to=tmp_path)
    assert cluster.files.fetched == []
    (tmp_path / "m.bin").write_text("mine")
    with pytest.raises(StorageExistsError, match="and 1 more is there already"):
        stored.download(to=tmp_path)
    assert files_in(tmp_path) == ["logs/b/c.txt", "m.bin"]
    stored.download(to=tmp_path, overwrite=True)
    assert (tmp_path / "m.bin").read_bytes() == b"m.bin"


def test_outputs_of_a_job_without_any_are_an_empty_list(cluster):
    assert attach(cluster, "bob~old").outputs.list() == []
    with pytest.raises(JobNotFoundError):
        attach(cluster, "nosuchjob").outputs.list()


def test_the_workspace_of_another_job_is_looked_up(cluster):
    handle = attach(cluster, "bob~old")
    assert (handle.user, handle.name, handle.full_name) == ("bob", "old", "bob~old")
    assert handle.outputs.folder == "/user/bob/jobs/old/output"
    assert handle.link == "http://x/bob~old"
    assert repr(handle) == "JobHandle('bob~old')"


@pytest.mark.parametrize("name", ["../x", "a/../../b", "/", "."])
def test_an_output_has_a_name_below_the_output_folder(cluster, name):
    with pytest.raises(UsageError):
        JobHandle(cluster, "old").outputs.read(name)


# --- cost --------------------------------------------------------------------------------------------


def test_a_fast_job_imports_nothing_heavy():
    code = (
        "import sys; before = set(sys.modules)\n"
        "from openpaisdk.job import Job\n"
        "import openpaisdk.job.submission\n"
        "Job.fast('x', ['echo', 'a b'], env={'A': 'b'}, memory='2g').check()\n"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = "typing dataclasses logging pathlib subprocess tempfile urllib http yaml requests hdfs uuid"
    assert [name for name in heavy.split() if f"'{name}'" in done.stdout] == []
