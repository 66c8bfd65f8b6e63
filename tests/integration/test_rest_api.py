# SPDX-License-Identifier: MIT
"""The embedded cluster's REST API as other clients of OpenPAI see it."""

from __future__ import annotations

import json
import threading
import time

import pytest
import requests

from openpaisdk.constants import BODY_LIMIT_BYTES

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server(local_server):
    """The server with the jobs that most tests look at."""
    assert local_server.run("good", "echo out; echo err >&2; echo last")["state"] == "SUCCEEDED"
    assert local_server.run("bad", "echo boom; exit 3", jobRetryCount=1)["state"] == "FAILED"
    assert local_server.run("two", "echo $PAI_CURRENT_TASK_ROLE_CURRENT_TASK_INDEX", instances=2)
    return local_server


def job_path(server, name: str) -> str:
    return f"/api/v2/jobs/{server.user}~{name}"


def refusal(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code")


def anonymous(server, method: str, path: str, **options) -> requests.Response:
    return requests.request(method, server.uri + path, timeout=30, allow_redirects=False, **options)


# --- where and who ----------------------------------------------------------------------------
@pytest.mark.parametrize("prefix", ["/api/v2", "/rest-server/api/v2"])
def test_the_api_stands_under_both_prefixes(server, prefix):
    info = anonymous(server, "GET", f"{prefix}/info").json()
    assert info.pop("embedded") is True
    assert info == {
        "name": "PAI RESTful API",
        "version": "v1.8.1",
        "launcherType": "k8s",
        "authnMethod": "basic",
    }
    assert server.get(f"{prefix}/jobs/").status_code == 200


def test_what_is_not_there_is_no_api(server):
    answer = server.get("/api/v2/nope?x=1")
    assert answer.json() == {"code": "NoApiError", "message": "API /api/v2/nope?x=1 is not found."}
    assert refusal(server.delete("/api/v2/jobs")) == (404, "NoApiError")
    assert refusal(server.get("/nothing")) == (404, "NoApiError")


def test_guests_see_nothing(server):
    for method, path in (
        ("GET", "/api/v2/jobs"),
        ("POST", "/api/v2/jobs"),
        ("GET", job_path(server, "good")),
        ("PUT", job_path(server, "good") + "/executionType"),
        ("GET", job_path(server, "good") + "/config"),
        ("GET", "/api/v2/users"),
        ("GET", "/api/v2/tokens"),
        ("GET", "/api/v2/virtual-clusters"),
        ("GET", "/local/v1/status"),
        ("GET", "/local/v1/credentials"),
        ("POST", "/local/v1/shutdown"),
        ("POST", "/local/v1/wait"),
        ("GET", f"/local/v1/follow?job={server.user}~good"),
        ("POST", "/local/v1/links"),
    ):
        assert refusal(anonymous(server, method, path)) == (401, "UnauthorizedUserError"), path


def credentials(server) -> dict[str, str]:
    return server.get("/local/v1/credentials").json()


@pytest.mark.parametrize("path", ["/api/v1/authn/basic/login", "/api/v2/tokens", "/api/v1/token"])
def test_a_login_gives_a_token_that_a_logout_ends(server, path):
    known = credentials(server)
    body = {"username": known["user"], "password": known["password"], "expiration": 3600}
    for answer in (anonymous(server, "POST", path, json=body), anonymous(server, "POST", path, data=body)):
        login = answer.json()
        assert (answer.status_code, login["user"], login["admin"]) == (200, known["user"], True)
        header = {"Authorization": f"Bearer {login['token']}"}
        assert anonymous(server, "GET", "/api/v2/jobs", headers=header).status_code == 200
        assert login["token"] in server.get("/api/v2/tokens").json()["tokens"]
        logout = anonymous(server, "DELETE", "/api/v2/authn/basic/logout", headers=header)
        assert logout.json() == {"message": "Logout successfully"}
        assert anonymous(server, "GET", "/api/v2/jobs", headers=header).status_code == 401


def test_an_application_token_may_work_but_not_manage(server):
    answer = server.post("/api/v2/tokens/application").json()
    assert answer["application"] is True
    header = {"Authorization": f"Bearer {answer['token']}"}
    assert anonymous(server, "GET", "/api/v2/tokens/check", headers=header).json()["application"] is True
    basic = (server.user, answer["token"])
    assert anonymous(server, "GET", "/api/v2/jobs", auth=basic).status_code == 200
    assert refusal(anonymous(server, "GET", "/api/v2/tokens", headers=header)) == (403, "ForbiddenUserError")
    assert refusal(anonymous(server, "POST", "/local/v1/shutdown", headers=header)) == (
        403,
        "ForbiddenUserError",
    )
    assert server.delete(f"/api/v2/tokens/{answer['token']}").json() == {"message": "revoke successfully"}
    assert anonymous(server, "GET", "/api/v2/jobs", headers=header).status_code == 401


def test_the_clusters_own_token_cannot_be_revoked(server):
    assert refusal(server.delete(f"/api/v2/tokens/{server.token}")) == (403, "ForbiddenUserError")
    assert refusal(server.delete("/api/v2/authn/basic/logout")) == (403, "ForbiddenUserError")


def test_users_are_shown_without_secrets(server):
    (user,) = server.get("/api/v2/users").json()
    assert user == server.get(f"/api/v2/users/{server.user}").json() == server.get("/api/v2/user/me").json()
    assert user == server.get(f"/api/v1/user/{server.user}").json()
    assert credentials(server)["password"] not in json.dumps(user)
    assert refusal(server.get("/api/v2/users/nobody")) == (400, "NoUserError")


# --- tokens -----------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def bob(server):
    """Headers of a user who is no admin."""
    body = {"username": "bob", "password": "bob-password"}
    assert server.post("/api/v2/users", json=body).status_code == 201
    token = server.post("/api/v2/tokens", json=body).json()["token"]
    return {"Authorization": f"Bearer {token}"}


def test_nobody_ends_tokens_of_others_and_ending_one_twice_is_no_error(server, bob):
    text = bob["Authorization"].split()[1]
    answer = server.delete(f"/api/v2/tokens/{text}")
    assert answer.json()["message"] == f"User {server.user} is not allowed to do this operation."
    assert anonymous(server, "GET", "/api/v2/jobs", headers=bob).status_code == 200
    mine = server.post("/api/v2/tokens/application").json()["token"]
    for _ in range(2):
        assert server.delete(f"/api/v2/tokens/{mine}").json() == {"message": "revoke successfully"}
    assert refusal(server.delete("/api/v2/tokens/garbage")) == (400, "InvalidParametersError")


def test_the_life_of_a_token_is_checked_and_then_not_heeded(server):
    known = credentials(server)
    body = {"username": known["user"], "password": known["password"]}
    for value, problem in (
        (59, "must be larger than or equal to 60"),
        (604801, "must be less than or equal to 604800"),
        (60.5, "must be an integer"),
        ("soon", "must be a number"),
    ):
        answer = server.post("/api/v2/tokens", json={**body, "expiration": value})
        message = f'child "expiration" fails because ["expiration" {problem}]'
        assert answer.json() == {"code": "InvalidParametersError", "message": message}
    token = server.post("/api/v2/tokens", json={**body, "expiration": 60}).json()["token"]
    claims = anonymous(
        server, "GET", "/api/v2/tokens/check", headers={"Authorization": f"Bearer {token}"}
    ).json()
    assert claims["exp"] - claims["iat"] == 7 * 24 * 3600


# --- bodies -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"value": "STOP"', 400),
        (b"[" * 50_000, 400),
        (b'{"value": NaN}', 400),
        (b'{"value": "\\ud800"}', 400),
        (b"\xff\xfe", 400),
        (b"[1]", 400),
        (b'"STOP"', 400),
        (b'{"value": "STOP", "more": 1}', 400),
        (b'{"value": "' + b"x" * BODY_LIMIT_BYTES + b'"}', 413),
    ],
    ids=lambda value: str(value)[:16],
)
def test_a_body_that_makes_no_sense_is_the_senders_mistake(server, body, status):
    headers = {"Content-Type": "application/json"}
    answer = server.put(job_path(server, "good") + "/executionType", data=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.json()["message"]


def test_a_parameter_that_is_given_twice_is_refused(server):
    for query in ("username=a&username=b", "limit=1&limit=2", "keyword=" + "x" * 20_000):
        assert refusal(server.get(f"/api/v2/jobs?{query}")) == (400, "InvalidParametersError")


# --- the rest of the API ----------------------------------------------------------------------
def test_info_is_told_whatever_the_method(server):
    for method in ("GET", "POST", "PUT", "DELETE"):
        assert anonymous(server, method, "/api/v2/info").json()["launcherType"] == "k8s"
    assert anonymous(server, "POST", "/api/v2").text == "PAI RESTful API v2 (beta version)"


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_admins_see_the_machine_and_its_tasks_as_kubernetes_shows_them(server, bob, version):
    name = f"running_{version}"
    server.submit(server.document(name, "sleep 600"))
    while server.get(job_path(server, name)).json()["jobStatus"]["state"] == "WAITING":
        pass
    (node,) = server.get(f"/api/{version}/kubernetes/nodes").json()["items"]
    assert (node["kind"], node["status"]["capacity"]["cpu"]) == ("Node", "8")
    pods = server.get(f"/api/{version}/kubernetes/pods?labelSelector=jobName={name}").json()
    assert pods["kind"] == "PodList"
    (pod,) = pods["items"]
    assert (pod["status"]["phase"], pod["spec"]["nodeName"]) == ("Running", node["metadata"]["name"])
    assert server.get(f"/api/{version}/kubernetes/pods?namespace=kube-system").json()["items"] == []
    for kind in ("nodes", "pods"):
        answer = anonymous(server, "GET", f"/api/{version}/kubernetes/{kind}", headers=bob)
        assert answer.json()["message"] == "Non-admin is not allow to do this operation."
    server.put(job_path(server, name) + "/executionType", json={"value": "STOP"})
    server.wait(name)


def test_there_are_no_alerts_and_no_storages_to_mount(server, bob):
    for path in ("/alerts", "/storage/config", "/storage/server"):
        assert anonymous(server, "GET", f"/api/v2{path}", headers=bob).json() == []
    assert server.get("/api/v2/storages?default=true").json() == {"storages": []}
    for path in ("/storages/nfs", "/storage/config/nfs", "/storage/server/nfs"):
        assert refusal(server.get(f"/api/v2{path}")) == (404, "NoStorageError")
    answer = server.submit(server.document("mounts", "true", extras={"storages": [{"name": "nfs"}]}))
    assert (*refusal(answer), answer.json()["message"]) == (
        404,
        "NoStorageError",
        "Storage nfs is not found.",
    )


@pytest.mark.parametrize(
    ("method", "path", "body", "answer"),
    [
        ("PUT", "new", {"vcCapacity": 10}, "updateVc not implemented in k8s"),
        ("DELETE", "new", None, "removeVc not implemented in k8s"),
        ("PUT", "new/status", {"vcStatus": "stopped"}, "stopVc not implemented in k8s"),
        ("PUT", "new/status", {"vcStatus": "running"}, "activeVc not implemented in k8s"),
        ("PUT", "default", {"vcCapacity": 10}, "Update operation to default vc isn't allowed"),
        (
            "PUT",
            "new",
            {"vcCapacity": 101},
            'child "vcCapacity" fails because ["vcCapacity" must be less than or equal to 100]',
        ),
    ],
)
def test_virtual_clusters_are_not_changed_over_the_api(server, bob, method, path, body, answer):
    path = f"/api/v2/virtual-clusters/{path}"
    assert server.request(method, path, json=body).json()["message"] == answer
    assert anonymous(server, method, path, json=body, headers=bob).status_code in (400, 403)


# --- submit -----------------------------------------------------------------------------------
def test_a_submit_answers_like_a_real_one_and_adds_a_link(server):
    answer = server.submit(server.document("submitted", "true"))
    body = answer.json()
    assert answer.status_code == 202
    assert body.pop("link").startswith(f"{server.uri}/jobs/{server.user}~submitted?code=")
    assert body == {"status": 202, "message": f"Update job submitted for user {server.user} successfully."}


def test_a_name_is_never_free_again(server):
    answer = server.submit(server.document("good", "true"))
    assert refusal(answer) == (409, "ConflictJobError")
    assert answer.json()["message"] == f"Job {server.user}~good already exists."


def test_yaml_and_json_are_taken(server):
    text = """
protocolVersion: 2
name: from_yaml
type: job
prerequisites:
  - {type: dockerimage, name: i, uri: x}
taskRoles:
  Work_er:
    dockerImage: i
    instances: 1
    resourcePerInstance: {cpu: 1, memoryMB: 64, gpu: 0}
    commands:
      - echo <% $parameters.x %>
parameters: {x: 1.0}
"""
    assert server.submit(text).status_code == 202
    assert server.wait("from_yaml")["done"]
    config = server.get(job_path(server, "from_yaml") + "/config")
    assert config.headers["content-type"] == "text/yaml; charset=utf-8"
    assert '"parameters":{"x":1}' in config.text
    assert list(server.get(job_path(server, "from_yaml")).json()["taskRoles"]) == ["worker"]


def test_mistakes_for_which_a_real_server_breaks_are_told(server):
    for text in ("a: [", "a: 1\n---\nb: 2", "<% $x %>: {"):
        answer = server.submit(text)
        assert answer.status_code == 400, answer.text
        assert answer.json()["message"]
    assert server.get("/api/v2/jobs?limit=abc").status_code == 400


def test_more_than_the_machine_has_is_refused(server):
    document = server.document("huge", "true")
    document["taskRoles"]["worker"]["resourcePerInstance"]["cpu"] = 10_000
    answer = server.submit(document)
    assert answer.status_code == 400
    assert "10000" in answer.json()["message"] or "cpu" in answer.json()["message"].lower()


def test_a_body_that_is_too_large_is_refused(server):
    large = server.document("large", "#" + "x" * BODY_LIMIT_BYTES)
    assert server.submit(large).status_code == 413
    assert server.submit(large).json() == {"message": "request entity too large"}
    pieces = (b"x" * 1000 for _ in range(200))
    answer = server.post("/api/v2/jobs", data=pieces, headers={"Content-Type": "text/yaml"})
    assert answer.status_code == 413


def test_secrets_are_never_shown(server):
    document = server.document(
        "with_secrets", 'test "<% $secrets.key %>" = hidden-value', secrets={"key": "hidden-value"}
    )
    assert server.submit(document).status_code == 202
    assert server.wait("with_secrets")["jobs"][f"{server.user}~with_secrets"]["state"] == "SUCCEEDED"
    assert server.get(job_path(server, "with_secrets") + "/config").json()["secrets"] == "******"
    for path in ("", "/events", "/job-attempts"):
        assert "hidden-value" not in server.get(job_path(server, "with_secrets") + path).text


# --- look -------------------------------------------------------------------------------------
def test_a_detail_tells_how_the_job_ended(server):
    status = server.get(job_path(server, "bad")).json()["jobStatus"]
    assert (status["state"], status["appExitCode"], status["retries"]) == ("FAILED", 255, 1)
    assert status["appExitMessages"]["runtime"]["originUserExitCode"] == 3
    first = server.get(job_path(server, "bad") + "/attempts/0").json()["jobStatus"]
    assert (first["attemptId"], first["attemptState"], first["state"]) == (0, "FAILED", "FAILED")
    newest = server.get(job_path(server, "bad") + "/attempts/x").json()["jobStatus"]
    assert newest["attemptId"] == 1


def test_attempts_that_are_not_there_are_not_found(server):
    answer = server.get(job_path(server, "good") + "/attempts/7")
    assert answer.json()["message"] == f"JobAttemptId 7 is not found in {server.user}~good."
    answer = server.get(job_path(server, "good") + "/job-attempts/7")
    assert refusal(answer) == (404, "NoJobError")
    task = job_path(server, "good") + "/attempts/0/taskRoles/nope/taskIndex/0/attempts"
    assert server.get(task).json()["message"] == (
        f"Task not found in Job {server.user}~good with jobAttemptIndex 0, taskRoleName nope and taskIndex 0."
    )


def test_job_attempts_come_newest_first_then_in_order(server):
    attempts = server.get(job_path(server, "bad") + "/job-attempts").json()
    assert [(one["attemptIndex"], one["isLatest"]) for one in attempts] == [(1, True), (0, False)]
    assert server.get(job_path(server, "bad") + "/job-attempts/0").json()["exitCode"] == 255
    assert server.get(job_path(server, "bad") + "/job-attempts/healthz").text == "ok"


def test_ssh_is_never_there(server):
    assert refusal(server.get(job_path(server, "good") + "/ssh")) == (404, "NoJobSshInfoError")


def test_events_tell_of_the_retry(server):
    events = server.get(job_path(server, "bad") + "/events?type=Warning").json()
    assert events["totalCount"] == len(events["data"]) > 0
    assert {event["type"] for event in events["data"]} == {"Warning"}


def test_lists_are_filtered_ordered_and_paged(server):
    def names(query: str) -> list[str]:
        return [job["name"] for job in server.get(f"/api/v2/jobs?{query}").json()]

    assert names("state=FAILED") == ["bad"]
    assert names("username=nobody") == []
    assert names("keyword=goo") == ["good"]
    ordered = names("order=jobName,ASC")
    assert ordered == sorted(ordered)
    assert names("order=jobName,ASC&limit=2&offset=1") == ordered[1:3]
    page = server.get("/api/v2/jobs?withTotalCount=true&limit=1").json()
    assert (page["totalCount"], len(page["data"])) == (len(ordered), 1)
    assert names("limit=0") == []


def test_virtual_clusters_show_what_the_machine_has(server):
    clusters = server.get("/api/v2/virtual-clusters").json()
    assert clusters["default"]["resourcesTotal"]["cpu"] == 8
    assert clusters["default"] == server.get("/api/v2/virtual-clusters/default").json()
    (node,) = server.get("/api/v2/virtual-clusters?nodes").json().values()
    assert node == {"gpuUsed": 0, "gpuAvailable": 0, "gpuTotal": 0}


# --- change -----------------------------------------------------------------------------------
def test_tags_come_and_go(server):
    path = job_path(server, "good") + "/tag"
    for _ in range(2):
        answer = server.put(path, json={"value": "t 1 ü"})
        assert answer.json() == {
            "status": 200,
            "message": f"Add tag t 1 ü for job {server.user}~good successfully.",
        }
    assert server.get(job_path(server, "good")).json()["tags"] == ["t 1 ü"]
    assert [job["name"] for job in server.get("/api/v2/jobs?tagsContain=t 1 ü").json()] == ["good"]
    assert server.delete(path, json={"value": "t 1 ü"}).status_code == 200
    assert refusal(server.delete(path, json={"value": "t 1 ü"})) == (404, "NoTagError")
    for value, problem in (("a,b", "pattern"), ("", "empty"), (5, "must be a string")):
        answer = server.put(path, json={"value": value})
        assert answer.status_code == 400
        assert problem in answer.json()["message"]
    assert refusal(server.put(job_path(server, "nope") + "/tag", json={"value": "x"})) == (404, "NoJobError")


def test_a_job_is_stopped(server):
    server.submit(server.document("stopped", "sleep 600"))
    path = job_path(server, "stopped") + "/executionType"
    assert server.put(path, json={"value": "stop"}).status_code == 400
    for _ in range(2):
        answer = server.put(path, json={"value": "STOP"})
        assert answer.status_code == 202
        assert answer.json()["message"] == f"Execute job {server.user}~stopped successfully."
    ended = server.wait("stopped")["jobs"][f"{server.user}~stopped"]
    assert (ended["state"], ended["exit_code"]) == ("STOPPED", -210)
    detail = server.get(job_path(server, "stopped")).json()
    assert detail["jobStatus"]["executionType"] == "STOP"


# --- logs -------------------------------------------------------------------------------------
def log_locations(server, name: str, query: str = "") -> dict[str, str]:
    path = f"{job_path(server, name)}/attempts/0/taskRoles/worker/taskIndex/0/attempts/0/logs{query}"
    return {place["name"]: place["uri"] for place in server.get(path).json()["locations"]}


def test_logs_are_listed_and_read_without_a_header(server):
    places = log_locations(server, "good")
    assert {"stdout", "stderr", "all"} <= set(places)
    assert places["all"].startswith("/log-manager/")
    answer = anonymous(server, "GET", places["stdout"])
    assert (answer.status_code, answer.text) == (200, "out\nlast\n")
    assert answer.headers["content-type"] == "text/plain"
    assert anonymous(server, "GET", places["stderr"]).text == "err\n"
    assert sorted(anonymous(server, "GET", places["all"]).text.split()) == ["err", "last", "out"]


def test_parts_of_logs_can_be_read(server):
    uri = log_locations(server, "good")["stdout"]

    def part(wanted: str) -> tuple[int, str, str | None]:
        answer = anonymous(server, "GET", uri, headers={"Range": wanted})
        return answer.status_code, answer.text, answer.headers.get("content-range")

    assert part("bytes=4-6") == (206, "las", "bytes 4-6/9")
    assert part("bytes=4-") == (206, "last\n", "bytes 4-8/9")
    assert part("bytes=-2") == (206, "t\n", "bytes 7-8/9")
    assert part("bytes=9-") == (416, "", "bytes */9")
    assert part("lines=1-2")[0] == 200
    tail = anonymous(server, "GET", log_locations(server, "good", "?tail-mode=true")["stdout"])
    assert (tail.status_code, tail.headers["content-range"]) == (206, "bytes 0-8/9")


def test_an_address_of_a_log_is_good_for_that_task_only(server):
    uri = log_locations(server, "good")["stdout"]
    other = log_locations(server, "bad")["stdout"]
    assert anonymous(server, "GET", uri.replace("token=", "token=x")).status_code == 403
    assert anonymous(server, "GET", uri.partition("&token=")[0]).status_code == 403
    pod = other.partition("pod-uid=")[2].partition("&")[0]
    own = uri.partition("pod-uid=")[2].partition("&")[0]
    assert anonymous(server, "GET", uri.replace(own, pod)).status_code == 403
    assert anonymous(server, "GET", uri.replace("user-stdout", "user-nope")).status_code == 404


def test_logs_that_are_not_there_are_not_found(server):
    path = f"{job_path(server, 'good')}/attempts/0/taskRoles/worker/taskIndex/0/attempts/9/logs"
    assert refusal(server.get(path)) == (404, "NoTaskLogError")


# --- waiting and following --------------------------------------------------------------------
def test_waiting_ends_with_the_job_and_tells_how(server, tmp_path):
    go = tmp_path / "go"
    server.submit(server.document("awaited", f"while [ ! -e {go} ]; do sleep 0.02; done; exit 4"))
    early = server.wait("awaited", timeout_s=0)
    assert early["done"] is False
    assert early["jobs"][f"{server.user}~awaited"]["exit_code"] is None
    threading.Timer(0.2, go.touch).start()
    late = server.wait("awaited")
    ended = late["jobs"][f"{server.user}~awaited"]
    assert late["done"] is True
    assert ended == {"state": "FAILED", "exit_code": 255, "user_exit_code": 4}


def test_waiting_for_any_ends_with_the_first(server):
    server.submit(server.document("endless", "sleep 600"))
    jobs = [f"{server.user}~endless", f"{server.user}~good"]
    answer = server.post("/local/v1/wait", json={"jobs": jobs, "timeout_s": 30, "mode": "any"}).json()
    assert answer["done"] is True
    assert not answer["jobs"][jobs[0]]["state"].startswith("S")
    server.put(job_path(server, "endless") + "/executionType", json={"value": "STOP"})


def test_waiting_for_a_short_time_ends_in_time(server):
    server.submit(server.document("sleeper", "sleep 600"))
    began = time.monotonic()
    assert server.wait("sleeper", timeout_s=0.3)["done"] is False
    assert 0.25 < time.monotonic() - began < 5
    server.put(job_path(server, "sleeper") + "/executionType", json={"value": "STOP"})


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"jobs": []},
        {"jobs": "x"},
        {"jobs": [1]},
        {"jobs": ["a~b"], "timeout_s": "x"},
        {"jobs": ["a~b"], "timeout_s": -1},
    ],
)
def test_a_wait_that_makes_no_sense_is_refused(server, body):
    assert server.post("/local/v1/wait", json=body).status_code in (400, 404)
    assert refusal(server.post("/local/v1/wait", json={"jobs": ["a~b"]})) == (404, "NoJobError")


def follow(server, name: str, **options) -> list[dict]:
    values = {"job": f"{server.user}~{name}", **options}
    with server.get("/local/v1/follow", params=values, stream=True) as answer:
        assert answer.headers["content-type"].startswith("application/x-ndjson")
        return [json.loads(line) for line in answer.iter_lines()]


def text_of(events: list[dict]) -> str:
    return "".join(event.get("text", "") for event in events if event["type"] == "log")


def test_following_tells_all_and_ends(server):
    events = follow(server, "good")
    assert sorted(text_of(events).split()) == ["err", "last", "out"]
    assert events[-1] == {"type": "end", "state": "SUCCEEDED", "exit_code": 0, "user_exit_code": 0}
    assert text_of(follow(server, "good", stream="stderr")) == "err\n"
    assert text_of(follow(server, "good", stream="stdout", tail=1)) == "last\n"


def test_following_goes_over_retries(server):
    events = follow(server, "bad")
    assert text_of(events) == "boom\nboom\n"
    image, retry = [event["text"] for event in events if event["type"] == "note"]
    assert "is not used" in image
    assert retry.startswith("attempt 1 of the job follows")
    assert events[-1]["user_exit_code"] == 3


def test_following_one_of_several_tasks(server):
    assert text_of(follow(server, "two", role="worker", index=1)) == "1\n"
    answer = server.get("/local/v1/follow", params={"job": f"{server.user}~two", "index": "9"})
    assert refusal(answer) == (404, "NoJobError")
    answer = server.get("/local/v1/follow", params={"job": f"{server.user}~two", "stream": "nope"})
    assert refusal(answer) == (400, "InvalidParametersError")


def test_following_brings_lines_while_the_task_runs(server, tmp_path):
    go = tmp_path / "go"
    server.submit(
        server.document("live", f"echo first; while [ ! -e {go} ]; do sleep 0.02; done; echo second")
    )
    with server.get("/local/v1/follow", params={"job": f"{server.user}~live"}, stream=True) as answer:
        lines = (json.loads(line) for line in answer.iter_lines())
        assert next(event for event in lines if event["type"] == "log")["text"] == "first\n"
        go.touch()
        assert text_of(list(lines)) == "second\n"


def test_every_byte_of_a_long_log_is_sent_to_a_client_that_is_slow(server):
    count = 200_000
    server.submit(server.document("long", f"seq 1 {count}"))
    with server.get("/local/v1/follow", params={"job": f"{server.user}~long"}, stream=True) as answer:
        server.wait("long")
        events = [json.loads(line) for line in answer.iter_lines()]
    assert text_of(events) == "".join(f"{number}\n" for number in range(1, count + 1))


# --- the server -------------------------------------------------------------------------------
def test_the_status_says_what_runs_here(server):
    status = server.get("/local/v1/status").json()
    assert (status["running"], status["pid"], status["uri"]) == (True, server.process.pid, server.uri)
    assert status["resources"] == {"cpu": 8, "gpu": 0, "memory_mb": 4096}
    assert status["jobs"]["FAILED"] >= 1


def test_credentials_are_what_another_client_needs(server):
    known = credentials(server)
    assert set(known) == {"uri", "webhdfs_uri", "user", "password", "token"}
    assert known["token"] == server.token


# --- the page ---------------------------------------------------------------------------------
def test_a_link_opens_the_page_once(server):
    link = server.post("/local/v1/links", json={"job": f"{server.user}~good"}).json()["link"]
    browser = requests.Session()
    assert browser.head(link, timeout=30).status_code == 204
    page = browser.get(link, timeout=30)
    assert page.url == f"{server.uri}/jobs/{server.user}~good"
    assert (page.status_code, page.history[0].status_code) == (200, 303)
    assert '<span class="state SUCCEEDED">' in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert browser.get(f"{server.uri}/", timeout=30).status_code == 200
    assert browser.get(f"{server.uri}/jobs/x~y", timeout=30).status_code == 404
    stranger = requests.get(link, timeout=30)
    assert stranger.status_code == 401
    assert "<span" not in stranger.text
    browser.close()


def test_a_browsers_cookie_opens_nothing_but_pages(server):
    link = server.post("/local/v1/links", json={"job": f"{server.user}~good"}).json()["link"]
    browser = requests.Session()
    browser.get(link, timeout=30)
    assert browser.get(f"{server.uri}/api/v2/jobs", timeout=30).status_code == 401
    browser.close()


def test_a_foreign_name_for_loopback_is_refused(server):
    assert server.get("/api/v2/jobs", headers={"Host": "evil.example"}).status_code == 403
    answer = server.post("/local/v1/links", json={"job": "x"}, headers={"Origin": "http://evil.example"})
    assert answer.status_code == 403
