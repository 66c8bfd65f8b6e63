# SPDX-License-Identifier: MIT
"""Live answers against the schemas of the server's own description: chosen ones, and many made up."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema import Draft202012Validator
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_schema_conformance,
    status_code_conformance,
)

from openpaisdk.local.api.openapi import OPERATIONS

pytestmark = pytest.mark.integration

EXAMPLES = 8
BODIES_WITH_NAMES = ("/api/v2/jobs", "/local/v1/wait", "/local/v1/links")
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    ignored_auth,
]
LEFT_OUT = {
    ("POST", "/local/v1/shutdown"): "it ends the server",
    ("DELETE", "/api/v2/authn/basic/logout"): "the cluster's own token cannot log out, and others are gone",
    ("DELETE", "/api/v1/authn/basic/logout"): "the same",
}
"""Operations that are not called with made-up values, and why."""


class Document:
    """The server's description of itself, to check answers against."""

    def __init__(self, server) -> None:
        answer = server.get("/api/v2/openapi.json")
        assert answer.status_code == 200
        self.content: dict[str, Any] = answer.json()
        self._patterns = {
            re.compile(re.sub(r"{\w+}", "[^/?]+", path)): item
            for path, item in sorted(self.content["paths"].items())
        }

    def check(self, answer: requests.Response) -> None:
        """Fail when an answer is not one that the description tells of."""
        method, path = answer.request.method or "", (answer.request.path_url).partition("?")[0]
        operation = next(
            item[method.lower()]
            for pattern, item in self._patterns.items()
            if pattern.fullmatch(path) and method.lower() in item
        )
        described = operation["responses"][str(answer.status_code)]["content"]
        kind = answer.headers["content-type"].partition(";")[0]
        schema = {**described[kind]["schema"], "components": self.content["components"]}
        value = answer.json() if kind == "application/json" else answer.text
        errors = [
            f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(value)
        ]
        assert not errors, (method, path, errors[:5])


@pytest.fixture(scope="module")
def server(local_server):
    assert local_server.run("good", "echo out")["state"] == "SUCCEEDED"
    return local_server


@pytest.fixture(scope="module")
def document(server) -> Document:
    return Document(server)


def test_the_description_is_served_under_both_prefixes_to_those_with_a_token(server, document):
    assert server.get("/rest-server/api/v2/openapi.json").json() == document.content
    assert requests.get(f"{server.uri}/api/v2/openapi.json", timeout=30).status_code == 401


def job_paths(name: str, user: str) -> Iterator[str]:
    job = f"/api/v2/jobs/{user}~{name}"
    yield from (job, f"{job}/config", f"{job}/events", f"{job}/ssh", f"{job}/job-attempts")
    for attempt in (0, 1, 7):
        yield from (f"{job}/attempts/{attempt}", f"{job}/job-attempts/{attempt}")
        for role in ("worker", "ps", "nope"):
            task = f"{job}/attempts/{attempt}/taskRoles/{role}/taskIndex/0/attempts"
            yield from (task, f"{task}/0/logs", f"{task}/9/logs?tail-mode=true")


def test_jobs_in_every_state_look_as_described(server, document):
    two_roles = server.document("two_roles", "sleep 600", instances=2)
    worker = two_roles["taskRoles"]["worker"]
    two_roles["taskRoles"]["p_s"] = {**worker, "instances": 1, "commands": ["exit 3"]}
    for job in (
        server.document("ok", "echo $PAI_PORT_LIST_worker_0_http"),
        server.document("fails", "echo boom >&2; exit 3"),
        server.document("retries", "exit 1", jobRetryCount=1),
        server.document("runs", "sleep 600", instances=2),
        server.document("stopped", "sleep 600"),
        two_roles,
        server.document("with_tag", "true"),
        {**server.document("waits", "true"), "taskRoles": {"worker": _all_cpus(worker)}},
    ):
        answer = server.submit(job)
        assert answer.status_code == 202, answer.text
        document.check(answer)
    document.check(server.put(_job(server, "with_tag") + "/tag", json={"value": "t, no"}))
    document.check(server.put(_job(server, "with_tag") + "/tag", json={"value": "t"}))
    for _ in range(2):
        document.check(server.put(_job(server, "stopped") + "/executionType", json={"value": "STOP"}))
    server.wait("ok", "fails", "retries", "stopped", "two_roles")
    states = {job["name"]: job["state"] for job in server.get("/api/v2/jobs").json()}
    assert {"SUCCEEDED", "FAILED", "RUNNING", "WAITING", "STOPPED"} <= set(states.values()), states
    for name in states:
        for path in job_paths(name, server.user):
            document.check(server.get(path))
    for query in ("", "?withTotalCount=true&limit=2", "?state=FAILED&order=jobName,ASC", "?limit=x"):
        document.check(server.get(f"/api/v2/jobs{query}"))
    for name in ("runs", "waits"):
        document.check(server.put(_job(server, name) + "/executionType", json={"value": "STOP"}))
    for path in job_paths("runs", server.user):
        document.check(server.get(path))
    server.wait("runs", "waits")


def _job(server, name: str) -> str:
    return f"/api/v2/jobs/{server.user}~{name}"


def _all_cpus(role: dict[str, Any]) -> dict[str, Any]:
    return {**role, "instances": 1, "resourcePerInstance": {**role["resourcePerInstance"], "cpu": 8}}


@pytest.mark.parametrize(
    "path",
    [path for method, path in OPERATIONS if method == "GET" and "{" not in path and "follow" not in path],
)
def test_what_can_be_asked_without_a_name_looks_as_described(server, document, path):
    document.check(server.get(path))
    document.check(requests.get(server.uri + path, timeout=30))


# --- made-up requests ---------------------------------------------------------------------------
def known_names(server) -> dict[str, list[str]]:
    """Return values of parameters, some of which lead somewhere: a schema cannot tell them."""
    job, missing = f"{server.user}~good", f"{server.user}~nope"
    return {
        "framework": [job, job, missing, "good"],
        "job": [job, missing],
        "attempt": ["0", "0", "9", "x"],
        "task_attempt": ["0", "9" * 30],
        "role": ["worker", "nope"],
        "index": ["0", "9"],
        "name": [server.user, "bob", "default", "admingroup", "crew", "stdout", "a-b"],
        "keys": ["a", "a/b", "acls/admin", "acls"],
    }


def some_documents(server) -> list[dict[str, Any]]:
    return [
        server.document("made_up", "true"),
        server.document("made_up_too", "true", defaults={"virtualCluster": "nope"}),
        server.document("mounts", "true", extras={"storages": [{"name": "nope"}]}),
    ]


@pytest.fixture(scope="module")
def api(server, document):
    """The description, with some values in it that lead further than made-up ones ever do."""
    server.post("/api/v2/users", json={"username": "bob", "password": "bob-password"})
    server.post("/api/v2/groups", json={"groupname": "crew"})
    content = copy.deepcopy(document.content)
    names = known_names(server)
    for path in content["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] in names:
                    parameter["schema"] = {"enum": names[parameter["name"]]}
    bodies = {path: content["paths"][path]["post"]["requestBody"]["content"] for path in BODIES_WITH_NAMES}
    submit, wait, link = (next(iter(body.values())) for body in bodies.values())
    submit["schema"] = {"anyOf": [{"enum": some_documents(server)}, submit["schema"]]}
    job = content["components"]["schemas"]["JobDocument"]
    job["definitions"]["commands"]["items"] = {"const": "true"}  # made-up commands are better not run
    wait["schema"]["properties"]["jobs"]["items"] = {"enum": names["job"]}
    link["schema"]["properties"]["job"] = {"enum": names["job"]}
    schema = schemathesis.openapi.from_dict(content)
    schema.config.base_url = server.uri
    return schema


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=str)
@pytest.mark.parametrize("key", [key for key in OPERATIONS if key not in LEFT_OUT], ids=" ".join)
def test_made_up_requests_are_answered_as_described(server, api, key, mode):
    method, path = key
    operation = api[path][method]
    if mode is GenerationMode.NEGATIVE and not (
        operation.body or operation.query or operation.path_parameters
    ):
        return  # there is nothing to do wrong
    headers = {"Authorization": f"Bearer {server.token}"}

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case) -> None:
        case.call_and_validate(headers=headers, checks=CHECKS)

    check()
    assert server.get("/api/v2/info").status_code == 200


def test_what_is_left_out_exists():
    assert set(LEFT_OUT) <= set(OPERATIONS)
