# SPDX-License-Identifier: MIT
"""Other people's clients work against the embedded cluster as they are."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

pytestmark = pytest.mark.integration

SESSION = Path(__file__).parent / "javascript" / "session.js"
JAVASCRIPT_CLIENT = "@microsoft/openpai-js-sdk@0.1.5"
PASSWORD = "credentials of the owner"

needs_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="there is no npm")
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")


@pytest.fixture(scope="module")
def server(local_server):
    return local_server


@pytest.fixture(scope="module")
def credentials(server) -> dict[str, str]:
    return server.get("/local/v1/credentials").json()


# --- the JavaScript client ----------------------------------------------------------------------
@pytest.fixture(scope="module")
def javascript(server, credentials, tmp_path_factory) -> dict[str, Any]:
    """What each step of a session with the published client gave."""
    folder = tmp_path_factory.mktemp("javascript")
    npm = ["npm", "install", "--no-audit", "--no-fund", "--no-update-notifier", "--cache", "cache"]
    installed = subprocess.run(
        [*npm, JAVASCRIPT_CLIENT], cwd=folder, capture_output=True, text=True, timeout=300
    )
    if installed.returncode:
        pytest.skip(f"npm cannot install {JAVASCRIPT_CLIENT}: {installed.stderr[-500:]}")
    shutil.copy(SESSION, folder)
    environment = {
        "PATH": os.environ["PATH"],
        "PAI_URI": server.uri,
        "PAI_USER": server.user,
        "PAI_PASSWORD": credentials["password"],
        "JOB_PREFIX": "javascript",
    }
    session = subprocess.run(
        ["node", SESSION.name], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert session.returncode == 0, session.stderr
    # What the client itself prints goes before.
    steps: dict[str, Any] = json.loads(session.stdout[session.stdout.index('{"submit"') :])
    return steps


def given(steps: dict[str, Any], name: str) -> Any:
    assert "value" in steps[name], (name, steps[name])
    return steps[name]["value"]


@needs_npm
def test_javascript_submits_and_stops_jobs(javascript, server):
    assert given(javascript, "submit")["status"] == 202
    assert javascript["submitAgain"]["code"] == "ConflictJobError"
    assert javascript["submitInvalid"]["code"] == "InvalidProtocolError"
    assert given(javascript, "submitLong")["jobStatus"]["state"] == "RUNNING"
    assert given(javascript, "start")["message"] == f"Execute job {server.user}~javascript-long successfully."
    assert given(javascript, "stop")["status"] == 202
    stopped = given(javascript, "stopped")["jobStatus"]
    assert (stopped["appExitCode"], stopped["executionType"]) == (-210, "STOP")


@needs_npm
def test_javascript_looks_at_a_job(javascript, server):
    detail = given(javascript, "detail")
    assert detail["jobStatus"]["state"] == "SUCCEEDED"
    assert [task["taskState"] for task in detail["taskRoles"]["psserver"]["taskStatuses"]] == ["SUCCEEDED"] * 2
    assert given(javascript, "attempt")["jobStatus"]["attemptId"] == 0
    config = given(javascript, "config")
    assert config["secrets"] == "******"
    assert config["taskRoles"]["ps_server"]["commands"] == ["echo <% $parameters.what %>"]
    assert given(javascript, "task")["attempts"][0]["attemptState"] == "SUCCEEDED"
    for name in ("events", "warnings"):
        events = given(javascript, name)
        assert events["totalCount"] == len(events["data"])
    assert given(javascript, "attemptsHealth") == "ok"
    assert [attempt["attemptIndex"] for attempt in given(javascript, "attempts")] == [0]
    assert given(javascript, "attemptOfHistory")["userName"] == server.user


@needs_npm
def test_javascript_reads_logs(javascript):
    for name in ("logs", "logsTail"):
        names = [place["name"] for place in given(javascript, name)["locations"]]
        assert {"stdout", "stderr", "all"} <= set(names)
    assert given(javascript, "logContent") == {"status": 200, "text": "hello\n"}


@needs_npm
def test_javascript_lists_filters_and_pages(javascript):
    assert {job["name"] for job in given(javascript, "list")} >= {"javascript-done", "javascript-long"}
    pages = [given(javascript, name) for name in ("firstPage", "secondPage")]
    assert [page["totalCount"] for page in pages] == [2, 2]
    names = [job["name"] for page in pages for job in page["data"]]
    assert names == ["javascript-done", "javascript-long"]
    assert [job["name"] for job in given(javascript, "listByState")] == ["javascript-long"]
    assert [job["name"] for job in given(javascript, "listTagged")] == ["javascript-done"]
    assert given(javascript, "addTag")["status"] == given(javascript, "deleteTag")["status"] == 200
    assert javascript["deleteTagAgain"]["code"] == "NoTagError"


@needs_npm
def test_javascript_uses_application_tokens(javascript):
    token = given(javascript, "applicationToken")
    assert token["application"] is True
    assert token["token"] in given(javascript, "tokens")["tokens"]
    assert len(given(javascript, "applicationLists")) == 1
    assert given(javascript, "revoke") == {"message": "revoke successfully"}


@needs_npm
def test_javascript_looks_at_the_cluster(javascript, server):
    assert given(javascript, "info")["launcherType"] == "k8s"
    assert given(javascript, "clusters")["default"] == given(javascript, "cluster")
    assert given(javascript, "cluster")["resourcesTotal"]["cpu"] == 8
    for name in ("storages", "defaultStorages"):
        assert isinstance(given(javascript, name)["storages"], list)
    assert server.user in [user["username"] for user in given(javascript, "users")]
    assert given(javascript, "user")["admin"] is True


@needs_npm
def test_javascript_logs_in_and_out(javascript, server):
    assert given(javascript, "token")
    login = given(javascript, "login")
    assert (login["user"], login["admin"]) == (server.user, True)
    assert given(javascript, "logout") == {"message": "Logout successfully"}
    assert given(javascript, "v1Authn")["authn_type"] == "basic"
    assert given(javascript, "v1Token")["application"] is True


@needs_npm
def test_javascript_tells_its_own_errors_by_the_codes(javascript):
    """The client picks an error's class by its ``code``."""
    expected = {
        "detailThatIsNot": "NoJobError",
        "attemptThatIsNot": "NoJobError",
        "userThatIsNot": "NoUserError",
        "applicationManages": "ForbiddenUserError",
        "applicationIsGone": "UnauthorizedUserError",
        "afterLogout": "UnauthorizedUserError",
    }
    assert {name: javascript[name]["error"] for name in expected} == expected
    codes = {
        "clusterThatIsNot": "NoVirtualClusterError",
        "storageThatIsNot": "NoStorageError",
        "skuTypes": "NoApiError",  # a real 1.8 serves /cluster/sku-types instead
        "wrongPassword": "IncorrectPasswordError",
    }
    assert {name: javascript[name]["code"] for name in codes} == codes
    assert "NoApiError" in javascript["v1Jobs"]["message"]
