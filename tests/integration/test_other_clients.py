# SPDX-License-Identifier: MIT
"""Other people's clients work against the embedded cluster as they are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import fsspec
import pytest
import requests
import yaml
from hdfs import HdfsError, InsecureClient

pytestmark = pytest.mark.integration

SESSION = Path(__file__).parent / "javascript" / "session.js"
JAVASCRIPT_CLIENT = "@microsoft/openpai-js-sdk@0.1.5"

needs_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="there is no npm")
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")


@pytest.fixture(scope="module")
def server(local_server):
    return local_server


@pytest.fixture(scope="module")
def credentials(server) -> dict[str, str]:
    return server.get("/local/v1/credentials").json()


def run(command: list[str], folder: Path | None = None, *, timeout_s: float = 120, **options: Any):
    """Run a program to its end; what comes of it is for the caller to judge."""
    return subprocess.run(
        command, check=False, cwd=folder, capture_output=True, text=True, timeout=timeout_s, **options
    )


# --- the JavaScript client ----------------------------------------------------------------------
@pytest.fixture(scope="module")
def javascript(server, credentials, tmp_path_factory) -> dict[str, Any]:
    """What each step of a session with the published client gave."""
    folder = tmp_path_factory.mktemp("javascript")
    npm = ["npm", "install", "--no-audit", "--no-fund", "--no-update-notifier", "--cache", "cache"]
    installed = run([*npm, JAVASCRIPT_CLIENT], folder, timeout_s=300)
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
    session = run(["node", SESSION.name], folder, env=environment)
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
    assert [task["taskState"] for task in detail["taskRoles"]["psserver"]["taskStatuses"]] == [
        "SUCCEEDED"
    ] * 2
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
def test_javascript_manages_users_and_groups(javascript):
    for name in ("createUser", "updateUser", "updateUserSelf", "createGroup", "updateGroup", "deleteGroup"):
        assert given(javascript, name)["message"]
    for name in ("addToGroup", "removeFromGroup", "setGroups", "deleteUser"):
        assert given(javascript, name)["message"]
    assert javascript["createUserAgain"]["error"] == "ConflictUserError"
    assert given(javascript, "userUpdated")["email"] == "new@example.com"
    assert given(javascript, "hersSeesOurs")["name"] == "javascript-done"
    for name in ("hersStopsOurs", "hersManages", "hersNodes"):
        assert javascript[name]["error"] == "ForbiddenUserError"
    assert given(javascript, "group")["description"] == "x"
    assert "javascript_team" in [group["groupname"] for group in given(javascript, "groups")]
    assert [member["username"] for member in given(javascript, "members")] == ["javascript-carol"]
    assert set(given(javascript, "userInGroups")["grouplist"]) == {"default", "javascript_team"}
    assert javascript["groupThatIsNot"]["code"] == "NoGroupError"
    assert javascript["deletedLists"]["error"] == "UnauthorizedUserError"
    for name in ("nodes", "pods"):
        assert isinstance(given(javascript, name)["items"], list)


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


# --- the Python SDK 0.4 -------------------------------------------------------------------------
def old_sdk(server, method: str, path: str, *, json: Any = None, **options) -> requests.Response:
    """Send a request as version 0.4 does: through the gateway's path, with a JSON body in a GET, too."""
    if "data" not in options:
        options["json"] = json or {}
    return requests.request(
        method, f"{server.uri}/rest-server/api/{path}", timeout=30, verify=False, **options
    )


def test_the_old_python_sdk_logs_in_and_looks_around(server, credentials):
    body = {"username": server.user, "password": credentials["password"], "expiration": 3600}
    login = old_sdk(server, "POST", "v1/token", json=body)
    assert login.status_code == 200
    assert old_sdk(server, "GET", "v1").json()["authnMethod"] == "basic"
    header = {"Authorization": f"Bearer {login.json()['token']}"}
    user = old_sdk(server, "GET", f"v1/user/{server.user}", headers=header).json()
    assert "default" in user["virtualCluster"]


def test_the_old_python_sdk_submits_a_document(server):
    document = server.document("old-sdk", "echo <% $parameters.python_path %>")
    document |= {
        "parameters": {
            "python_path": "python",
            "cluster_alias": "here",
            "work_directory": "/user/x/jobs/old",
        },
        "secrets": {"clusters": json.dumps([{"cluster_alias": "here", "password": "p" * 20, "token": None}])},
        "extras": {"tags": ["opai.sdk"], "sdk.plugins": []},
        "defaults": {"virtualCluster": "default"},
    }
    header = {"Authorization": f"Bearer {server.token}", "Content-Type": "text/yaml"}
    answer = old_sdk(server, "POST", "v2/jobs", data=yaml.dump(document), headers=header)
    assert answer.status_code == 202, answer.text
    assert server.wait("old-sdk")["jobs"][f"{server.user}~old-sdk"]["state"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "v1/jobs"),
        ("GET", "v1/user/{user}/jobs"),
        ("GET", "v1/user/{user}/jobs/one"),
        ("GET", "v1/user/{user}/jobs/one/config"),
        ("GET", "v1/user/{user}/jobs/one/ssh"),
        ("POST", "v1/user/{user}/jobs"),
        ("PUT", "v1/user/{user}/jobs/one/executionType"),
        ("GET", "v1/virtual-clusters"),
    ],
)
def test_the_old_python_sdks_v1_jobs_are_gone_as_from_a_real_cluster(server, method, path):
    header = {"Authorization": f"Bearer {server.token}"}
    answer = old_sdk(server, method, path.format(user=server.user), headers=header)
    assert (answer.status_code, answer.json()["code"]) == (404, "NoApiError")


def test_the_old_sdks_link_to_a_job_leads_to_its_page(server):
    address = f"{server.uri}/job-detail.html?username={server.user}&jobName=a%20b"
    answer = requests.get(address, allow_redirects=False, timeout=30)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/jobs/{server.user}~a%20b")


# --- curl ---------------------------------------------------------------------------------------
def curl(*words: str, folder: Path | None = None) -> str:
    """Run curl and return what it prints: the body, then the status after a line break."""
    command = ["curl", "--silent", "--show-error", "--noproxy", "*", "--write-out", "\\n%{http_code}", *words]
    done = run(command, folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def curl_json(*words: str, folder: Path | None = None) -> tuple[int, Any]:
    body, _, status = curl(*words, folder=folder).rpartition("\n")
    return int(status), json.loads(body)


@needs_curl
def test_curl_logs_in_and_works_with_the_token(server, credentials, tmp_path):
    login = f"{server.uri}/rest-server/api/v1/authn/basic/login"
    fields = ["-d", f"username={server.user}", "-d", "expiration=360000"]
    status, answer = curl_json(
        "-X", "POST", *fields, "--data-urlencode", f"password={credentials['password']}", login
    )
    assert status == 200
    api = f"{server.uri}/rest-server/api/v2"
    bearer = ["-H", f"Authorization: Bearer {answer['token']}"]
    document = yaml.safe_dump(server.document("curl", "echo from curl"))
    (tmp_path / "job.yaml").write_text(f"# submitted by hand\n{document}")
    yaml_file = ["-H", "Content-Type: text/yaml", "--data-binary", "@job.yaml"]
    assert curl_json(*bearer, *yaml_file, f"{api}/jobs", folder=tmp_path)[0] == 202
    server.wait("curl")
    job = f"{api}/jobs/{server.user}~curl"
    assert curl_json(*bearer, job)[1]["jobStatus"]["state"] == "SUCCEEDED"
    value = ["-H", "Content-Type: application/json", "-d", '{"value": "STOP"}']
    assert curl_json(*bearer, "-X", "PUT", *value, f"{job}/executionType")[0] == 202
    tag = ["-H", "Content-Type: application/json", "-d", '{"value": "by-hand"}']
    assert curl_json(*bearer, "-X", "PUT", *tag, f"{job}/tag")[0] == 200
    assert curl_json(*bearer, "-X", "DELETE", *tag, f"{job}/tag")[0] == 200
    logs = f"{job}/attempts/0/taskRoles/worker/taskIndex/0/attempts/0/logs?tail-mode=true"
    places = {place["name"]: place["uri"] for place in curl_json(*bearer, logs)[1]["locations"]}
    assert curl(server.uri + places["stdout"]) == "from curl\n\n206"


@needs_curl
def test_curl_works_with_an_application_token_either_way(server):
    token = server.post("/api/v2/tokens/application").json()["token"]
    jobs = f"{server.uri}/rest-server/api/v2/jobs?limit=1"
    assert curl_json("-u", f"{server.user}:{token}", jobs)[0] == 200
    assert curl_json("-H", f"Authorization: bearer {token}", jobs)[0] == 200
    assert curl_json("-u", f"somebody:{token}", jobs)[0] == 401
    assert curl_json("-u", f"{server.user}:{server.token}", jobs)[0] == 401
    assert curl_json(jobs)[0] == 401


@needs_curl
def test_curl_needs_a_text_type_to_submit(server):
    document = json.dumps(server.document("curl-form", "true"))
    bearer = ["-H", f"Authorization: Bearer {server.token}"]
    for kind in ("application/x-www-form-urlencoded", "application/json", "application/yaml"):
        words = [*bearer, "-H", f"Content-Type: {kind}", "--data-binary", document]
        status, answer = curl_json(*words, f"{server.uri}/api/v2/jobs")
        assert (status, answer["code"]) == (400, "InvalidProtocolError"), kind


# --- WebHDFS ---------------------------------------------------------
@needs_curl
def test_curl_walks_through_webhdfs(server, tmp_path):
    (tmp_path / "file").write_text("first\n")
    (tmp_path / "more").write_text("second\n")
    folder = f"{server.uri}/webhdfs/v1/user/{server.user}/curl"
    token = f"delegation={server.token}"

    def walk(method: str, path: str, operation: str, *words: str) -> tuple[int, Any]:
        return curl_json("-X", method, *words, f"{folder}{path}?op={operation}&{token}")

    assert walk("PUT", "/made", "MKDIRS&permission=711") == (200, {"boolean": True})
    for name in ("up", "up"):
        upload = f"{folder}/{name}?op=CREATE&overwrite=true&{token}"
        assert curl("-L", "-T", "file", upload, folder=tmp_path).endswith("201")
    assert curl("-L", "-X", "POST", "-T", "more", f"{folder}/up?op=APPEND&{token}", folder=tmp_path).endswith(
        "200"
    )
    assert curl("-L", f"{folder}/up?op=OPEN&{token}") == "first\nsecond\n\n200"
    assert curl("-L", f"{folder}/up?op=OPEN&offset=6&length=3&{token}") == "sec\n200"
    entries = walk("GET", "", "LISTSTATUS")[1]["FileStatuses"]["FileStatus"]
    assert [(entry["pathSuffix"], entry["type"]) for entry in entries] == [
        ("made", "DIRECTORY"),
        ("up", "FILE"),
    ]
    assert walk("GET", "/made", "GETFILESTATUS")[1]["FileStatus"]["permission"] == "711"
    destination = f"RENAME&destination=/user/{server.user}/curl/made/up"
    assert walk("PUT", "/up", destination)[1] == {"boolean": True}
    assert curl("-X", "PUT", f"{folder}/made/up?op=SETPERMISSION&permission=600&{token}").endswith("200")
    assert walk("GET", "", "GETCONTENTSUMMARY")[1]["ContentSummary"]["fileCount"] == 1
    assert walk("DELETE", "", "DELETE&recursive=true") == (200, {"boolean": True})
    status, answer = walk("GET", "", "LISTSTATUS")
    assert (status, answer["RemoteException"]["exception"]) == (404, "FileNotFoundException")


def test_a_client_without_a_token_is_told_to_send_one(server):
    client = InsecureClient(server.uri, user=server.user, timeout=30)
    client._session.trust_env = False
    with pytest.raises(HdfsError, match="Authentication failure"):
        client.list("/")
    client._session.close()
    answer = requests.get(f"{server.uri}/webhdfs/v1/?op=LISTSTATUS&user.name={server.user}", timeout=30)
    assert answer.status_code == 401
    assert "send ?delegation=TOKEN" in answer.json()["RemoteException"]["message"]


def test_fsspec_reads_and_writes_with_the_token(server):
    host, port = server.uri.removeprefix("http://").split(":")
    files = fsspec.filesystem("webhdfs", host=host, port=port, token=server.token, skip_instance_cache=True)
    files.session.trust_env = False
    base = f"/user/{server.user}/fsspec"
    files.makedirs(f"{base}/a")
    files.pipe_file(f"{base}/a/file", b"0123456789" * 1000)
    assert files.cat_file(f"{base}/a/file", start=5, end=12) == b"5678901"
    with files.open(f"{base}/a/file", "rb") as opened:
        opened.seek(9_990)
        assert opened.read() == b"0123456789"
    assert files.ls(f"{base}/a", detail=False) == [f"{base}/a/file"]
    files.mv(f"{base}/a/file", f"{base}/b")
    assert files.info(f"{base}/b")["size"] == 10_000
    assert files.content_summary(base)["fileCount"] == 1
    files.rm(base, recursive=True)
    assert not files.exists(base)
    files.session.close()
