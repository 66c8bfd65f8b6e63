# SPDX-License-Identifier: MIT
"""Every exchange that was recorded from a real cluster, sent again to the embedded one in the same order.

Users, groups and jobs come to be as they did there, by the recorded requests themselves. The jobs of the
recordings ended as a stand-in for their containers was told; ``COMMANDS`` makes them end so in earnest.
Compared are status, type of content, code, message, keys at every depth, and the state of a single job.
``LEFT_OUT`` and ``DIFFERENT`` say what is not the same, and why.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from .conftest import LocalServer, start_local_server

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "rest" / "transcripts.json"
RECORDED: list[dict[str, Any]] = json.loads(CORPUS.read_text("utf-8")) if CORPUS.exists() else []
FINAL = ("SUCCEEDED", "FAILED", "STOPPED")

_NO_FILE = "the document is not in the recording"
_NO_FAULT = "a part of the real service was made to fail, which the embedded cluster does not have"
_NO_HIVED = "there are no instance types without hived"
_LOCAL_ONLY = "a difference on purpose: no CORS headers on a server of this machine"
_NO_CACHE = "answers have no ETag: nothing on this machine is worth a conditional request"
LEFT_OUT = {
    "tokens after two logins within one second": "each login gives a token of its own",
    "new token used at once, while its write is slow": _NO_FAULT,
    "the same token a moment later": _NO_FAULT,
    "a revoked token at once": _NO_FAULT,
    "a revoked token a moment later": _NO_FAULT,
    "login while the user store fails": _NO_FAULT,
    "detail of a job that the API server refused": _NO_FAULT,
    "events of a job that the API server refused": _NO_FAULT,
    "stop while write-merger is down": _NO_FAULT,
    "list while postgres is down": _NO_FAULT,
    "tag while postgres is down": _NO_FAULT,
    "job attempts health while postgres is down": _NO_FAULT,
    "list with a job that is only in the database": "the recorded list has the jobs of another run",
    "info, conditional": _NO_CACHE,
    "CORS preflight": _LOCAL_ONLY,
    "config, quoted secrets key is not masked": "it is masked here; the submission is not in the recording",
    "detail right after stop": "here a job is STOPPING at once, not only when its stop is under way",
    "detail, waiting": "a job has no attempt yet while it waits, as one that is only in the database",
    "sku types (hived)": _NO_HIVED,
    "sku types of a VC (hived)": _NO_HIVED,
    "task attempts (hived)": "there are no cells of a scheduler to tell of",
}
_TOKEN = (400, "InvalidParametersError")
DIFFERENT = {
    "revoke garbage": _TOKEN,
    "create group, exists": _TOKEN,
    "list?limit=abc": _TOKEN,
    "list?limit=-1": _TOKEN,
    "list?offset=-1": _TOKEN,
    "list?username=alice&username=bob": _TOKEN,
    "submit, two YAML documents": (400, "InvalidProtocolError"),
    "start a stopped job that has left the API server": (202, None),
    "stop a succeeded job that has left the API server": (202, None),
    "submit, unknown SKU (hived)": (202, None),
}
"""What a user's mistake leads to here where the real server breaks (500): a useful answer."""

OTHER_STATES = {"job attempt 1, retried": "here past attempts are shown as they ended, not as RUNNING"}

_SLEEP = "sleep 600"
_SLOW_END = "trap 'sleep 1; exit 1' TERM; sleep 600 & wait"
COMMANDS = {
    "runs": {"worker": _SLOW_END},
    "waits": {"worker": _SLEEP},
    "fails": {"worker": "echo boom >&2; exit 3"},
    "retries": {"worker": 'test "$FC_FRAMEWORK_ATTEMPT_ID" -ge 1'},
    "taskretry": {"worker": 'test "$FC_TASK_ATTEMPT_ID" -ge 1'},
    "mixed": {"chief": _SLEEP, "worker": 'test "$FC_TASK_INDEX" = 1 || exit 3; sleep 600'},
    "pytorch_mnist": {"worker": "echo trained"},
    "h1": {"worker": _SLEEP},
    "h2": {"worker": _SLEEP},
    "h6": {"worker": _SLEEP},
}
OPEN = ("containerPorts", "extension", "appExitSpec", "containerExitSpec", "items")
"""Keys below these are the job's, the user's or the entry's own."""
OURS = {"embedded", "link"}
"""Keys that the embedded cluster adds."""

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not RECORDED, reason="the recordings are not at hand"),
]


class Replay:
    """Sends recorded requests, with tokens of this server in the place of the recorded ones."""

    def __init__(self, server: LocalServer) -> None:
        self.server = server
        self.answers: dict[str, requests.Response] = {}
        self._tokens = {
            "unstored": _never_issued("admin", 0),
            "expired": _never_issued("admin", 1),
            "forged": _never_issued("admin", 2),
        }
        self._send(
            "POST", "/api/v2/users", {"username": "admin", "password": "admin-password", "admin": True}
        )
        self.log_in("admin")

    def _send(self, method: str, path: str, value: Any) -> None:
        answer = self.server.request(method, path, json=value)
        assert answer.status_code == 201, answer.text

    def log_in(self, user: str, password: str | None = None) -> None:
        """Get a token of a user."""
        body = {"username": user, "password": password or f"{user}-password"}
        self._tokens[user] = self.server.post("/api/v2/tokens", json=body).json()["token"]

    def send(self, exchange: dict[str, Any]) -> None:
        """Send one request, once what it looks at has come about."""
        asked = exchange["request"]
        self._wait_for(exchange)
        headers = {"Authorization": None, **asked["headers"]}  # not that of our own session
        for name, value in headers.items():
            headers[name] = value and self._with_tokens(value)
        path = self._with_tokens(asked["path"])
        if path.startswith("/log-manager/"):
            path = self._log_path(path)
        body = _adapted(asked["body"])
        answer = self.server.request(asked["method"], path, headers=headers, data=body)
        self.answers[exchange["name"]] = answer
        self._note_tokens(exchange["name"], answer)

    def _with_tokens(self, text: str) -> str:
        if text == "Basic <user:token>":
            credentials = f"admin:{self._tokens['app']}"
            return f"Basic {base64.b64encode(credentials.encode()).decode()}"
        return re.sub(r"<token:(\w+)>", lambda found: self._token(found[1]), text)

    def _token(self, name: str) -> str:
        if name not in self._tokens:
            self.log_in(name)
        return self._tokens[name]

    def _note_tokens(self, name: str, answer: requests.Response) -> None:
        if name == "login":
            self._tokens["admin0"] = answer.json()["token"]
        elif name == "application token":
            self._tokens["app"] = answer.json()["token"]
        elif name == "update password":
            self.log_in("bob", "bob-password2")

    def _log_path(self, recorded: str) -> str:
        """Return where this server has the log that a recorded address means."""
        job = "/api/v2/jobs/admin~pytorch_mnist/attempts/0/taskRoles/worker/taskIndex/0/attempts/0/logs"
        found = self.server.get(f"{job}?tail-mode=true").json()["locations"]
        path: str = next(item["uri"] for item in found if item["name"] == "all")
        return path if "tail-mode" in recorded else re.sub("token=[^&]*", "token=wrong", path)

    def _wait_for(self, exchange: dict[str, Any]) -> None:
        """Wait until the job of a request is as it was when the request was recorded."""
        found = re.match(r"/api/v2/jobs/(\w+)(?:~|%7E)(\w+)", exchange["request"]["path"])
        reply = exchange["response"].get("json")
        if exchange["request"]["method"] != "GET" or found is None or not reply:
            if "keyword=%25" in exchange["request"]["path"]:
                self._wait_for_all()
            return
        framework = f"{found[1]}~{found[2]}"
        one = reply[0] if isinstance(reply, list) else reply
        state = one.get("state") or one.get("taskState") or one.get("jobStatus", {}).get("state")
        if (
            state in FINAL
            or "locations" in one
            or one.get("message", "").startswith(("JobAttempt", "Job att", "Task", "Log"))
        ):
            self.server.post("/local/v1/wait", json={"jobs": [framework], "timeout_s": 60})
        while state == "RUNNING" and self._state(framework) == "WAITING":
            pass

    def _state(self, framework: str) -> str:
        reply = self.server.get(f"/api/v2/jobs/{framework}").json()
        return reply["jobStatus"]["state"]

    def _wait_for_all(self) -> None:
        jobs = self.server.get("/api/v2/jobs").json()
        names = [f"{job['username']}~{job['name']}" for job in jobs]
        self.server.post("/local/v1/wait", json={"jobs": names, "timeout_s": 60})


def _never_issued(user: str, number: int) -> str:
    claims = json.dumps({"username": user, "iat": number}).encode()
    return f"e30.{base64.urlsafe_b64encode(claims).rstrip(b'=').decode()}.x"


def _adapted(body: str | None) -> bytes:
    """Return a recorded body; jobs that would end otherwise get commands that end them as recorded."""
    found = re.search(r"^name: (\w+)$", body or "", re.MULTILINE)
    if body is None or found is None or found[1] not in COMMANDS:
        return (body or "").encode()
    document = yaml.safe_load(body)
    for role, command in COMMANDS[found[1]].items():
        document["taskRoles"][role]["commands"] = [command]
    return json.dumps(document).encode()


# --- servers ------------------------------------------------------------------------------------
def exchanges(setup: str) -> list[dict[str, Any]]:
    return [item for item in RECORDED if item["setup"] == setup and _can_be_sent(item)]


def _can_be_sent(item: dict[str, Any]) -> bool:
    return item["name"] not in LEFT_OUT and not (item["request"]["body"] or "").startswith("<file ")


def sent(setup: str) -> list[Any]:
    return [pytest.param(item, id=item["name"]) for item in exchanges(setup)]


DEFAULT, HIVED = "defaultscheduler", "hivedscheduler"
FAULTS = "defaultscheduler, with failures injected"
LIMITED = next((item["setup"] for item in RECORDED if "RATE_LIMIT" in item["setup"]), "")
MACHINE = ("--cpu", "72", "--gpu", "12", "--mem", "576g")
"""What the real cluster had. This machine may have less: tasks do next to nothing."""


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., LocalServer]]:
    servers = []

    def start_one(*options: str) -> LocalServer:
        server = start_local_server(tmp_path_factory.mktemp("home") / "local", *MACHINE, *options)
        servers.append(server)
        return server

    yield start_one
    for server in servers:
        assert server.stop("kill") == 0


@pytest.fixture(scope="module")
def default_answers(start) -> dict[str, requests.Response]:
    replay = Replay(start())
    for exchange in exchanges(DEFAULT):
        replay.send(exchange)
    return replay.answers


@pytest.fixture(scope="module")
def hived_answers(start) -> dict[str, requests.Response]:
    replay = Replay(start("--vc", "vc1=24:4:200g"))
    found = exchanges(HIVED)
    for exchange in found:
        if exchange["name"].startswith("submit with a SKU"):
            first = exchange["request"]
            body = re.sub(r"(?s)\bextras:.*", "", first["body"]).replace("name: h2", "name: h1")
            replay.send({**exchange, "name": "", "request": {**first, "body": body}})
        replay.send(exchange)
    for job in replay.server.get("/api/v2/jobs").json():
        replay.server.put(
            f"/api/v2/jobs/{job['username']}~{job['name']}/executionType", json={"value": "STOP"}
        )
    return replay.answers


@pytest.fixture(scope="module")
def limited_answers(start) -> dict[str, requests.Response]:
    replay = Replay(start("--rate-limits", "60:3:2"))
    for exchange in exchanges(LIMITED):
        if exchange["name"].startswith("any request over"):
            while replay.server.get("/api/v2/info").status_code == 200:
                pass
        replay.send(exchange)
    return replay.answers


@pytest.fixture(scope="module")
def waiting_answers(start) -> dict[str, requests.Response]:
    server = start()
    replay = Replay(server)
    replay.log_in("admin")
    for name, cpus in (("first", 72), ("pending", 72)):
        document = server.document(name, _SLEEP)
        document["taskRoles"]["worker"]["resourcePerInstance"]["cpu"] = cpus
        headers = {"Authorization": f"Bearer {replay._token('admin')}", "Content-Type": "text/yaml"}
        assert server.post("/api/v2/jobs", data=json.dumps(document), headers=headers).status_code == 202
    for exchange in exchanges(FAULTS):
        replay.send(exchange)
    for name in ("pending", "first"):
        server.put(f"/api/v2/jobs/admin~{name}/executionType", json={"value": "STOP"})
    return replay.answers


# --- comparison ---------------------------------------------------------------------------------
def shape(value: Any) -> Any:
    """Return the keys of a value at every depth; a list has the shapes of its elements, each once."""
    if isinstance(value, dict):
        return {
            key: "…" if key in OPEN else shape(item) for key, item in sorted(value.items()) if key not in OURS
        }
    if isinstance(value, list):
        shapes = {json.dumps(shape(item), sort_keys=True) for item in value}
        return [json.loads(item) for item in sorted(shapes)]
    return "…"


def state(value: Any) -> Any:
    return value.get("jobStatus", value).get("state") if isinstance(value, dict) else None


def compare(exchange: dict[str, Any], answers: dict[str, requests.Response]) -> None:
    name, told = exchange["name"], exchange["response"]
    answer = answers[name]
    if name in DIFFERENT:
        assert (answer.status_code, answer.json().get("code")) == DIFFERENT[name]
        assert len(answer.json()["message"]) > 10
        return
    assert answer.status_code == told["status"], answer.text
    kind = told["headers"].get("content-type")
    if kind is not None and not exchange["request"]["path"].startswith("/log-manager/"):
        assert answer.headers["content-type"] == kind
    if "json" not in told:
        if exchange["request"]["path"].startswith("/log-manager/"):
            assert (answer.text == "") == (told["text"] == "")
        else:
            assert answer.text == told["text"]
        return
    ours, recorded = answer.json(), told["json"]
    if isinstance(recorded, dict) and "message" in recorded:
        assert {key: value for key, value in ours.items() if key not in OURS} == recorded
    assert shape(ours) == shape(recorded)
    if name not in OTHER_STATES:
        assert state(ours) == state(recorded)


@pytest.mark.parametrize("exchange", sent(DEFAULT))
def test_the_answer_is_the_recorded_one(exchange, default_answers):
    compare(exchange, default_answers)


@pytest.mark.parametrize("exchange", sent(HIVED))
def test_the_answer_about_virtual_clusters_and_priorities_is_the_recorded_one(exchange, hived_answers):
    compare(exchange, hived_answers)


@pytest.mark.parametrize("exchange", sent(LIMITED))
def test_the_answer_to_too_many_requests_is_the_recorded_one(exchange, limited_answers):
    compare(exchange, limited_answers)
    answer = limited_answers[exchange["name"]]
    assert answer.headers["x-ratelimit-limit"] == exchange["response"]["headers"]["x-ratelimit-limit"]
    assert ("retry-after" in answer.headers) == ("retry-after" in exchange["response"]["headers"])


@pytest.mark.parametrize("exchange", sent(FAULTS))
def test_the_answer_about_a_job_that_waits_is_the_recorded_one(exchange, waiting_answers):
    compare(exchange, waiting_answers)


def test_every_recorded_exchange_is_sent_or_left_out_for_a_reason():
    names = {item["name"] for item in RECORDED}
    assert set(LEFT_OUT) <= names
    assert set(DIFFERENT) <= names
    number = sum(map(len, map(exchanges, (DEFAULT, HIVED, LIMITED, FAULTS))))
    files = sum((item["request"]["body"] or "").startswith("<file ") for item in RECORDED)
    assert number + files + len(LEFT_OUT) == len(RECORDED)
