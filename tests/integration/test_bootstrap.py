# SPDX-License-Identifier: MIT
"""What stands before a job's commands, run by a real bash against a small WebHDFS server."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import urllib.parse
import zipfile
from pathlib import Path

import pytest

from openpaisdk.job.prelude import CLOSE, OPEN, build_prelude, runtime_entries
from openpaisdk.sources import Selection, select
from openpaisdk.storage.local import FileStorage

pytestmark = pytest.mark.integration

HEAD = "#!/bin/bash\nset -o errexit\nset -o nounset\nset -o pipefail\n\n"
TOKEN = "token-of-the-attempt"
ARCHIVE = "/user/alice/jobs/train/code/sources-1.tar.gz"
STORED = "/user/alice/jobs/train/output/"


class WebHdfs(http.server.ThreadingHTTPServer):
    """Keeps files in memory; redirects to itself as a name node does to a data node."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.upload(Selection(()))
        self.login = ("user.name", "alice")
        self.failures: list[int] = []
        self.refuses_writing = False
        self.first_steps_left: int | None = None
        """So many it answers as the active name node, and is on standby then."""
        self.breaks_after = 0
        self.requests: list[str] = []

    def upload(self, chosen: Selection) -> None:
        """Store an archive as the submission of a job does."""
        with chosen.pack(runtime_entries()) as archive:
            self.files[ARCHIVE] = Path(archive.path).read_bytes()

    @property
    def stored(self) -> dict[str, bytes]:
        """The outputs."""
        return {
            name.removeprefix(STORED): body for name, body in self.files.items() if name.startswith(STORED)
        }

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: WebHdfs

    def log_message(self, format: str, *args: object) -> None:
        pass

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.answer(b"")

    def do_PUT(self) -> None:
        self.answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def answer(self, body: bytes) -> None:
        parts = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parts.query))
        path = urllib.parse.unquote(parts.path).removeprefix("/webhdfs/v1")
        self.server.requests.append(f"{self.command} {query.get('op')} {path}")
        if query.get(self.server.login[0]) != self.server.login[1]:
            self.reply(401, b'{"RemoteException": {"message": "who are you?"}}')
        elif "moved" not in query and self.is_on_standby():
            self.reply(403, b'{"RemoteException": {"exception": "StandbyException", "message": "StandbyX"}}')
        elif query["op"] == "CREATE" and self.server.refuses_writing:
            self.reply(403, b'{"RemoteException": {"message": "not yours"}}')
        elif self.server.failures:
            self.reply(self.server.failures.pop(0), b'{"RemoteException": {"message": "not now"}}')
        elif "moved" not in query:
            self.reply(307, Location=f"http://{self.server.place}{self.path}&moved=1")
        elif query["op"] == "CREATE":
            self.server.files[path] = body
            self.reply(201)
        elif path in self.server.files and query["op"] == "GETFILESTATUS":
            status = {"type": "FILE", "length": len(self.server.files[path])}
            self.reply(200, json.dumps({"FileStatus": status}).encode())
        elif path in self.server.files:
            self.send_file(self.server.files[path][int(query.get("offset", 0)) :])
        else:
            self.reply(404, b'{"RemoteException": {"message": "File does not exist: x"}}')

    def is_on_standby(self) -> bool:
        left = self.server.first_steps_left
        self.server.first_steps_left = left and left - 1
        return left == 0

    def send_file(self, content: bytes) -> None:
        if self.server.breaks_after and len(content) > self.server.breaks_after:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: self.server.breaks_after])
            self.close_connection = True
        else:
            self.reply(200, content)


@contextlib.contextmanager
def serving():
    webhdfs = WebHdfs()
    thread = threading.Thread(target=webhdfs.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield webhdfs
    webhdfs.shutdown()
    thread.join()
    webhdfs.server_close()


@pytest.fixture
def server():
    with serving() as webhdfs:
        yield webhdfs


class Task:
    """A task that is about to run: what it knows, and the files it sees."""

    def __init__(self, folder: Path, server: WebHdfs) -> None:
        self.folder = folder
        self.server = server
        self.place = server.place
        self.work = folder / "work"
        self.work.mkdir()
        self.temp = folder / "tmp"
        self.temp.mkdir()
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "TMPDIR": str(self.temp),
            "PAI_JOB_NAME": "alice~train",
            "PAI_USER_NAME": "alice",
            "PAI_CURRENT_TASK_ROLE_CURRENT_TASK_INDEX": "0",
            "PAI_SDK_CACHE_DIR": str(folder / "cache"),
        }

    def embed(self) -> None:
        """Do as the embedded cluster does: it sets the variables and stores outputs itself."""
        output = self.folder / "output"
        output.mkdir()
        token = self.folder / "token"
        token.write_text(TOKEN)
        self.server.login = ("delegation", TOKEN)
        workspace = f"webhdfs://{self.server.place}/user/alice/jobs/train"
        self.environment |= {
            "PAI_SDK_JOB_WORKSPACE": workspace,
            "PAI_SDK_JOB_OUTPUT_URI": f"{workspace}/output",
            "PAI_SDK_JOB_OUTPUT_DIR": str(output),
            "PAI_SDK_TOKEN_FILE": str(token),
            "PAI_SDK_SERVER_STORES_OUTPUTS": "1",
        }

    def without_python(self) -> None:
        """Leave only the programs of a small image on the path."""
        self.leave("curl", "tar")

    def without_curl(self) -> None:
        """Leave only these programs and the interpreter."""
        self.leave()
        self.environment["PATH"] = f"{Path(sys.executable).parent}:{self.environment['PATH']}"

    def leave(self, *names: str) -> None:
        programs = self.folder / "bin"
        programs.mkdir()
        for name in [
            "bash",
            "cat",
            "cp",
            "env",
            "find",
            "gzip",
            "head",
            "mkdir",
            "mktemp",
            "ls",
            "readlink",
            "rm",
            "rmdir",
            "sleep",
            *names,
        ]:
            found = shutil.which(name)
            assert found, f"{name} is missing on this machine"
            (programs / name).symlink_to(found)
        self.environment["PATH"] = str(programs)

    def run(self, *commands: str, **recipe: object) -> subprocess.CompletedProcess[str]:
        requirements = recipe.pop("requirements", [])
        real = f"webhdfs://{self.place}/user/alice"
        embedded = "PAI_SDK_SERVER_STORES_OUTPUTS" in self.environment
        prelude = build_prelude("" if embedded else real, "output", "sources-1.tar.gz", recipe, requirements)
        own = commands if embedded else (OPEN, *commands, CLOSE)
        script = self.folder / "user.sh"
        script.write_text(HEAD + "\n".join([prelude, *own]) + "\n")
        return subprocess.run(
            ["bash", str(script)],
            cwd=self.work,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture
def task(tmp_path: Path, server: WebHdfs) -> Task:
    return Task(tmp_path, server)


@pytest.fixture
def sources(tmp_path: Path, server: WebHdfs) -> Path:
    folder = tmp_path / "project"
    (folder / "src" / "deep").mkdir(parents=True)
    (folder / "train.py").write_text("print('trained')\n")
    (folder / "src" / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (folder / "src" / "run.sh").chmod(0o755)
    (folder / "src" / "deep" / "ü x.txt").write_text("deep")
    (folder / "src" / "deep" / "up").symlink_to("../run.sh")
    server.upload(select(["train.py", "src"], folder=str(folder)))
    return folder


@pytest.fixture(params=["both", "python", "curl"])
def kind(request: pytest.FixtureRequest, task: Task) -> str:
    if request.param == "curl":
        task.without_python()
    elif request.param == "python":
        task.without_curl()
    return request.param


def test_sources_stand_in_the_working_folder_of_a_real_cluster(task, sources, kind):
    done = task.run("cat train.py; src/deep/up; cat 'src/deep/ü x.txt'")
    assert (done.returncode, done.stdout) == (0, "print('trained')\nran\ndeep"), done.stderr
    assert os.readlink(task.work / "src" / "deep" / "up") == "../run.sh"


def test_sources_are_fetched_with_the_token_of_the_attempt(task, sources, kind):
    task.embed()
    done = task.run("cat train.py")
    assert (done.returncode, done.stdout) == (0, "print('trained')\n"), done.stderr
    assert list(task.temp.iterdir()) == []


def test_an_image_with_neither_python_nor_curl_is_told_so(task, sources):
    task.leave("tar")
    done = task.run("true")
    assert done.returncode == 81
    assert "has neither Python 3.6 nor curl and tar" in done.stderr


def test_the_token_stands_in_no_command_line_and_no_log(task, sources, kind):
    task.embed()
    spy = task.folder / "spy"
    spy.mkdir()
    for name in ("curl", "python3"):
        real = shutil.which(name, path=task.environment["PATH"])
        if real:
            (spy / name).write_text(f'#!/bin/bash\nprintf "%s\\n" "$@" >> {spy}/words\nexec {real} "$@"\n')
            (spy / name).chmod(0o755)
    task.environment["PATH"] = f"{spy}:{task.environment['PATH']}"
    task.server.files.clear()
    done = task.run("true")
    assert done.returncode == 81
    words = (spy / "words").read_text()
    assert words
    assert TOKEN not in words + done.stdout + done.stderr


@pytest.mark.parametrize("dead", [False, True])
def test_of_a_pair_of_name_nodes_the_active_one_is_found(task, sources, server, kind, dead):
    with serving() as other:
        other.first_steps_left = 0
        task.place = f"{'127.0.0.1:1' if dead else other.place},{server.place}"
        done = task.run("cat train.py > model", outputs=["model"])
    assert done.returncode == 0, done.stderr
    assert server.stored == {"model": b"print('trained')\n"}


def test_a_name_node_that_goes_on_standby_is_left(task, server, kind):
    with serving() as other:
        other.files = server.files
        task.place = f"{server.place},{other.place}"
        server.first_steps_left = 1
        done = task.run("echo trained > model", outputs=["model"])
    assert done.returncode == 0, done.stderr
    assert server.stored == {"model": b"trained\n"}


def test_a_storage_that_is_busy_is_asked_again(task, sources, server, kind):
    server.failures = [503, 500]
    done = task.run("cat train.py")
    assert (done.returncode, done.stdout) == (0, "print('trained')\n"), done.stderr
    assert "trying again in 1 s" in done.stderr


def hostile(*members: tuple[str, bytes, str]) -> bytes:
    """Return an archive of members given by name, type and target, behind what each archive begins with."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for entry in runtime_entries():
            archive.add(entry.path, entry.name)
        for name, kind, target in [("first", tarfile.REGTYPE, ""), *members]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, target, 4 if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(b"evil") if info.size else None)
    return file.getvalue()


@pytest.mark.parametrize(
    "members",
    [
        [("../evil", tarfile.REGTYPE, "")],
        [("a/../../evil", tarfile.REGTYPE, "")],
        [("/tmp/openpaisdk-test-evil", tarfile.REGTYPE, "")],
        [("a", tarfile.SYMTYPE, "/tmp")],
        [("a", tarfile.SYMTYPE, ".."), ("a/evil", tarfile.REGTYPE, "")],
        [("b/a", tarfile.SYMTYPE, "../../x")],
        [("pipe", tarfile.FIFOTYPE, "")],
    ],
    ids=lambda members: members[0][0],
)
def test_an_archive_that_leaves_the_folder_is_refused(task, server, kind, members):
    server.files[ARCHIVE] = hostile(*members)
    done = task.run("echo not reached")
    assert (done.returncode, done.stdout) == (82, ""), done.stderr
    assert "the sources are refused" in done.stderr or "cannot unpack the sources" in done.stderr
    assert not list(task.folder.rglob("evil"))
    assert not Path("/tmp/openpaisdk-test-evil").exists()
    assert list(task.work.iterdir()) == []


@pytest.mark.parametrize("damage", [lambda data: data[:300], lambda data: b"", lambda data: b"no archive"])
def test_a_damaged_archive_is_said(task, sources, server, kind, damage):
    server.files[ARCHIVE] = damage(server.files[ARCHIVE])
    done = task.run("echo not reached")
    assert (done.returncode, done.stdout) == (82, ""), done.stderr
    assert "cannot unpack" in done.stderr


def test_an_archive_that_breaks_off_behind_the_programs_is_said(task, server, kind, tmp_path):
    (tmp_path / "big.bin").write_bytes(os.urandom(50_000))
    server.upload(select(["big.bin"], folder=str(tmp_path)))
    server.files[ARCHIVE] = server.files[ARCHIVE][:-20_000]
    done = task.run("echo not reached")
    assert (done.returncode, done.stdout) == (82, ""), done.stderr
    assert "cannot unpack the sources" in done.stderr


def test_files_of_the_sdk_are_not_seen_among_the_outputs(task, server, kind):
    done = task.run("printf m > m.bin; ls -A .openpaisdk >&2", outputs=["*", ".*", "**/*", ".openpaisdk"])
    assert done.returncode == 0, done.stderr
    assert "start.sh" in done.stderr
    assert server.stored == {"m.bin": b"m"}


def test_the_embedded_cluster_s_tasks_start_without_files_of_the_sdk(task, sources, kind):
    task.embed()
    done = task.run("ls -A")
    assert (done.returncode, done.stdout.split()) == (0, ["src", "train.py"]), done.stderr


def test_missing_sources_end_the_task_with_a_code_of_their_own_and_one_reason(task, server, kind):
    server.files.clear()
    done = task.run("echo not reached")
    assert done.returncode == 81
    assert done.stdout == ""
    assert f"cannot fetch webhdfs://{server.place}/user/alice/jobs/train/code" in done.stderr
    assert "404" in done.stderr


def test_outputs_and_the_output_folder_are_stored_on_success(task, server, kind):
    done = task.run(
        "mkdir -p models/sub 'a b'; printf m > models/sub/m.bin; printf 1 > 'a b/1.txt'; printf 2 > x2.log",
        'printf own > "$PAI_SDK_JOB_OUTPUT_DIR/own é.txt"; cd /',
        outputs=["models", "a b/1.txt", "*.log", "nowhere.txt"],
    )
    assert done.returncode == 0, done.stderr
    assert server.stored == {"models/sub/m.bin": b"m", "a b/1.txt": b"1", "x2.log": b"2", "own é.txt": b"own"}
    assert "output 'nowhere.txt' is not there" in done.stderr
    assert list(task.temp.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "code"), [("exit 42", 42), ("false", 1), ("exec sh -c 'exit 7'", 7), ("nosuchcommand", 127)]
)
def test_outputs_are_stored_on_failure_and_the_exit_code_is_kept(task, server, command, code):
    done = task.run("printf m > m.bin", command, outputs=["m.bin"])
    assert done.returncode == code
    assert server.stored == {"m.bin": b"m"}


def test_a_trap_of_the_command_does_not_prevent_storing(task, server):
    done = task.run("trap 'echo bye' EXIT; printf m > m.bin", outputs=["m.bin"])
    assert (done.returncode, done.stdout) == (0, "bye\n")
    assert server.stored == {"m.bin": b"m"}


def test_outputs_that_cannot_be_stored_fail_a_command_that_succeeded(task, server, kind):
    server.refuses_writing = True
    done = task.run("printf m > m.bin", outputs=["m.bin"])
    assert done.returncode == 84
    assert "cannot store output 'm.bin'" in done.stderr


def test_the_platform_stores_outputs_itself_where_it_says_so(task, server):
    task.embed()
    done = task.run("printf m > m.bin", outputs=["m.bin"])
    assert done.returncode == 0
    assert server.stored == {}


def test_links_that_leave_the_folder_are_not_stored(task, server):
    done = task.run("ln -s /etc/hostname out; printf m > m.bin; ln -s m.bin in", outputs=["out", "in"])
    assert done.returncode == 0
    assert server.stored == {"in": b"m"}
    assert "output 'out' is a link that leads out" in done.stderr


MODULE = """\
VALUE = {value!r}


def main():
    import otherpackage

    print({name!r}, "sees", otherpackage.__name__)
"""


def make_wheel(folder: Path, name: str, value: str, version: str = "1.0") -> Path:
    """Write a wheel of one module, so that tests need no package index."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": MODULE.format(name=name, value=value),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name}-tool = {name}:main\n",
    }
    record = "".join(f"{path},,\n" for path in files) + f"{info}/RECORD,,\n"
    with zipfile.ZipFile(path, "w") as wheel:
        for member, text in [*files.items(), (f"{info}/RECORD", record)]:
            wheel.writestr(member, text)
    return path


@pytest.fixture
def index(tmp_path: Path, task: Task) -> Path:
    folder = tmp_path / "index"
    folder.mkdir()
    make_wheel(folder, "firstpackage", "one")
    make_wheel(folder, "otherpackage", "two")
    task.environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}
    return folder


ASK = 'python -c "import firstpackage, sys; print(firstpackage.VALUE, sys.prefix)"; echo "$VIRTUAL_ENV"'


def test_packages_are_installed_once_into_an_environment_over_the_interpreter(task, index):
    first = task.run(ASK, packages=["firstpackage"])
    assert first.returncode == 0, first.stderr
    value, prefix, variable = first.stdout.split()
    assert (value, prefix) == ("one", variable)
    assert prefix == str(task.work / ".openpaisdk" / "venv")
    for wheel in index.iterdir():
        wheel.unlink()
    second = task.run(ASK, packages=["firstpackage"])
    assert (second.returncode, second.stdout) == (0, first.stdout), second.stderr
    assert "installing" not in second.stderr


@pytest.mark.parametrize("pip", ["pip", "pip3", "python -m pip", "python3 -m pip"])
def test_what_a_task_installs_itself_is_seen_by_no_other_task(task, index, pip):
    see = "import firstpackage, otherpackage; print(firstpackage.VALUE, otherpackage.VALUE)"
    done = task.run(
        f"{pip} install -q --disable-pip-version-check otherpackage",
        f"python -c '{see}'; otherpackage-tool; firstpackage-tool",
        "python -c 'import otherpackage; print(otherpackage.__file__)'",
        packages=["firstpackage"],
    )
    assert done.returncode == 0, done.stderr
    values, *tools, place = done.stdout.splitlines()
    assert values == "one two"
    assert tools == ["otherpackage sees otherpackage", "firstpackage sees otherpackage"]
    assert place.startswith(str(task.work / ".openpaisdk" / "venv"))
    assert not list((task.folder / "cache").rglob("otherpackage*"))
    again = task.run("python -c 'import otherpackage'", packages=["firstpackage"])
    assert "No module named 'otherpackage'" in again.stderr


def test_a_task_may_install_another_version_over_a_cached_one(task, index):
    make_wheel(index, "firstpackage", "newer", version="2.0")
    done = task.run(
        "pip install -q --disable-pip-version-check firstpackage==2.0", ASK, packages=["firstpackage==1.0"]
    )
    assert done.stdout.split()[0] == "newer", done.stderr
    again = task.run(ASK, packages=["firstpackage==1.0"])
    assert again.stdout.split()[0] == "one", again.stderr
    assert "installing" not in again.stderr


def test_two_sets_of_packages_do_not_see_each_other(task, index):
    assert task.run("true", packages=["otherpackage"]).returncode == 0
    done = task.run("python -c 'import firstpackage, otherpackage'", packages=["firstpackage"])
    assert "No module named 'otherpackage'" in done.stderr


def test_the_environment_sees_the_packages_of_the_interpreter_and_its_scripts(task, index):
    done = task.run(
        "python3 -c 'import yaml, requests'; command -v firstpackage-tool", packages=["firstpackage"]
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(task.folder / "cache"))


def test_an_environment_of_an_environment_sees_what_that_one_sees(task, index, tmp_path):
    outer = tmp_path / "outer"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(outer)], check=True)
    (packages,) = outer.glob("lib/python*/site-packages")
    (packages / "outerpackage.py").write_text("")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "linkedpackage.py").write_text("")
    (packages / "editable.pth").write_text(f"{tmp_path / 'linked'}\n")
    (packages / "firstpackage.py").write_text("VALUE = 'older'\n")
    task.environment["PATH"] = f"{outer / 'bin'}:{os.environ['PATH']}"
    done = task.run(
        'python -c "import firstpackage, outerpackage, linkedpackage; print(firstpackage.VALUE)"',
        packages=["firstpackage"],
    )
    assert (done.returncode, done.stdout) == (0, "one\n"), done.stderr
    assert "Error processing" not in done.stderr


def test_nothing_is_made_where_there_are_no_packages(task, sources):
    done = task.run('command -v python3; echo "${VIRTUAL_ENV:-none}"')
    assert done.stdout.split() == [str(Path(sys.executable).parent / "python3"), "none"]
    assert not (task.folder / "cache").exists()


def test_requirement_files_of_the_sources_are_installed(task, index, tmp_path, server):
    folder = tmp_path / "project"
    (folder / "part").mkdir(parents=True)
    (folder / "requirements.txt").write_text("-r more.txt\n")
    (folder / "more.txt").write_text("firstpackage  # the first\n")
    (folder / "part" / "requirements.txt").write_text("otherpackage==1.0\n")
    chosen = select(["requirements.txt", "more.txt", "part"], folder=str(folder))
    server.upload(chosen)
    done = task.run(
        "python -c 'import firstpackage, otherpackage; print(1)'",
        requirements=chosen.requirements,
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


def test_a_failing_pip_is_in_the_log_and_fails_the_task(task, index):
    done = task.run("echo not reached", packages=["nosuchpackage"])
    assert (done.returncode, done.stdout) == (83, "")
    assert "No matching distribution found for nosuchpackage" in done.stderr
    assert "pip could not install the packages" in done.stderr
    assert not [path for path in (task.folder / "cache" / "venvs").iterdir() if path.is_dir()]


def test_what_a_crash_left_of_an_environment_is_not_used(task, index):
    assert task.run("true", packages=["firstpackage"]).returncode == 0
    (environment,) = [path for path in (task.folder / "cache" / "venvs").iterdir() if path.is_dir()]
    (environment / ".complete").unlink()
    for module in environment.rglob("firstpackage.py"):
        module.unlink()
    done = task.run(ASK, packages=["firstpackage"])
    assert done.returncode == 0, done.stderr
    assert "installing" in done.stderr


def test_two_tasks_at_once_build_an_environment_once(task, index):
    done: list[subprocess.CompletedProcess[str]] = []
    barrier = threading.Barrier(2)
    (task.folder / "second").mkdir()
    other = Task(task.folder / "second", task.server)
    other.environment = {**task.environment, "HOME": str(other.folder)}

    def run(one: Task) -> None:
        barrier.wait()
        done.append(one.run(ASK, packages=["firstpackage"]))

    threads = [threading.Thread(target=run, args=[one]) for one in (task, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.returncode for one in done] == [0, 0], [one.stderr for one in done]
    assert sorted("installing" in one.stderr for one in done) == [False, True]


def test_a_local_package_gets_an_environment_that_is_not_shared(task, index):
    make_wheel(task.work, "localpackage", "here")
    done = task.run(
        "python -c 'import localpackage; print(localpackage.VALUE)'",
        packages=["./localpackage-1.0-py3-none-any.whl"],
    )
    assert (done.returncode, done.stdout) == (0, "here\n"), done.stderr
    assert not (task.folder / "cache").exists()


def test_an_image_without_python_cannot_install_packages_and_says_so(task):
    task.without_python()
    done = task.run("true", packages=["firstpackage"])
    assert done.returncode == 83
    assert "this image has no Python 3.6 or later" in done.stderr


def test_an_old_interpreter_fetches_installs_and_stores(task, sources, images, index, tmp_path, server):
    environment = {**os.environ, "PYENV_VERSION": "3.6.15"}
    made = (
        subprocess.run(
            ["python3.6", "-m", "venv", str(tmp_path / "old")],
            env=environment,
            capture_output=True,
            check=False,
        )
        if _has_old_python()
        else None
    )
    if made is None or made.returncode != 0:
        pytest.skip("there is no Python 3.6 on this machine")
    task.environment["PATH"] = f"{tmp_path / 'old' / 'bin'}:{os.environ['PATH']}"
    done = task.run(
        "cat train.py; python -c 'import firstpackage, sys; print(firstpackage.VALUE, sys.version_info[1])'",
        "cmp 'some images/a.bin' 'some images/sub/again'; printf m > m.bin",
        archives=[f"hdfs://{IMAGES.replace('.tar', '.tar.gz')}"],
        packages=["firstpackage"],
        outputs=["m.bin"],
    )
    assert (done.returncode, done.stdout) == (0, "print('trained')\none 6\n"), done.stderr
    assert server.files[STORED + "m.bin"] == b"m"


def _has_old_python() -> bool:
    environment = {**os.environ, "PYENV_VERSION": "3.6.15"}
    try:
        return (
            subprocess.run(
                ["python3.6", "-c", ""], env=environment, capture_output=True, check=False
            ).returncode
            == 0
        )
    except OSError:
        return False


# --- archives on a storage ------------------------------------------------------------------------


IMAGES = "/data/some images.tar"


@pytest.fixture
def images(tmp_path: Path, server: WebHdfs) -> Path:
    """A folder, stored as ``upload --archive`` stores it."""
    folder = tmp_path / "images"
    (folder / "sub" / "empty").mkdir(parents=True)
    (folder / "a.bin").write_bytes(os.urandom(200_000))
    (folder / "sub" / "ü.sh").write_text("#!/bin/sh\necho ran\n")
    (folder / "sub" / "ü.sh").chmod(0o755)
    (folder / "sub" / "again").hardlink_to(folder / "a.bin")
    (folder / "link").symlink_to("sub/ü.sh")
    storage = FileStorage()
    for suffix in (".tar", ".tar.gz"):
        storage.upload(str(folder), f"{tmp_path}/packed{suffix}", archive=True)
        server.files[IMAGES.replace(".tar", suffix)] = (tmp_path / f"packed{suffix}").read_bytes()
    return folder


def contents(folder: Path) -> dict[str, bytes | None]:
    found = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in found}


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_an_archive_on_the_storage_of_jobs_is_a_folder_of_the_task(task, server, images, suffix):
    task.embed()
    done = task.run("'some images/link'", archives=[f"hdfs://{IMAGES.replace('.tar', suffix)}"])
    assert (done.returncode, done.stdout) == (0, "ran\n"), done.stderr
    assert contents(task.work) == {"some images": None} | {
        f"some images/{name}": content for name, content in contents(images).items()
    }
    assert (task.work / "some images" / "sub" / "ü.sh").stat().st_mode & 0o777 == 0o755


def test_an_archive_is_fetched_on_a_real_cluster_where_the_user_is_taken_at_his_word(task, server, images):
    archive = f"webhdfs://bob@{server.place}{IMAGES}"
    server.files[STORED] = b""
    done = task.run("cat 'some images/a.bin' | wc -c", archives=[f"hdfs://{IMAGES}"])
    assert (done.returncode, done.stdout.strip()) == (0, "200000"), done.stderr
    done = task.run("true", archives=[archive])  # the server knows only alice
    assert done.returncode == 81
    assert f"cannot fetch {archive}: HTTP 401 who are you?" in done.stderr


def test_an_archive_that_breaks_off_is_fetched_on_from_there(task, server, images):
    task.embed()
    server.breaks_after = 60_000
    done = task.run("true", archives=[f"hdfs://{IMAGES}"])
    assert done.returncode == 0, done.stderr
    assert contents(task.work / "some images") == contents(images)
    assert sum(request == f"GET OPEN {IMAGES}" for request in server.requests) > 3


def test_the_token_of_the_attempt_goes_to_no_other_storage(task, server, images):
    task.embed()
    other = WebHdfs()
    threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        other.files[IMAGES] = server.files[IMAGES]
        done = task.run("ls 'some images'", archives=[f"webhdfs://{other.place}{IMAGES}"])
        assert (done.returncode, "a.bin" in done.stdout) == (0, True), done.stderr
    finally:
        other.shutdown()
        other.server_close()


def test_an_archive_that_is_not_there_is_told_by_exit_code_and_name(task, server):
    task.embed()
    done = task.run("echo not reached", archives=["hdfs:///data/no.tar"])
    assert (done.returncode, done.stdout) == (81, "")
    assert f"cannot fetch webhdfs://{server.place}/data/no.tar: HTTP 404" in done.stderr


@pytest.mark.parametrize(
    "members",
    [
        [("../evil", tarfile.REGTYPE, "")],
        [("/tmp/openpaisdk-test-evil", tarfile.REGTYPE, "")],
        [("a", tarfile.SYMTYPE, "/tmp")],
        [("hard", tarfile.LNKTYPE, "../secret")],
        [("a/../../evil", tarfile.LNKTYPE, "first")],
        [("pipe", tarfile.FIFOTYPE, "")],
    ],
    ids=lambda members: members[0][0],
)
def test_an_archive_on_a_storage_does_not_leave_its_folder(task, server, members):
    (task.work / "secret").write_text("secret")
    server.files["/data/x.tar.gz"] = hostile(*members)
    done = task.run("echo not reached", archives=["hdfs:///data/x.tar.gz"])
    assert (done.returncode, done.stdout) == (82, ""), done.stderr
    assert "the sources are refused" in done.stderr
    assert not list(task.folder.rglob("evil"))
    assert not Path("/tmp/openpaisdk-test-evil").exists()
    assert not (task.work / "x" / "hard").exists()


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b" + bytes(50)])
def test_what_is_no_archive_is_said(task, server, content):
    server.files["/data/x.tar"] = content
    done = task.run("echo not reached", archives=["hdfs:///data/x.tar"])
    assert (done.returncode, done.stdout) == (82, ""), done.stderr
    assert "cannot unpack the archive" in done.stderr


def test_an_image_without_python_is_told_that_archives_need_it(task, server, images):
    task.without_python()
    done = task.run("echo not reached", archives=[f"hdfs://{IMAGES}"])
    assert (done.returncode, done.stdout) == (81, "")
    assert "this image has no Python 3.6 or later, archives need it" in done.stderr


def test_big_sources_arrive_whole(task, tmp_path, server, kind):
    folder = tmp_path / "project"
    folder.mkdir()
    data = os.urandom(3 * 1024 * 1024 + 7)
    (folder / "big.bin").write_bytes(data)
    server.upload(select(["big.bin"], folder=str(folder)))
    done = task.run("true")
    assert done.returncode == 0, done.stderr
    assert hashlib.sha256((task.work / "big.bin").read_bytes()).digest() == hashlib.sha256(data).digest()
