# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from openpaisdk import core, embedded
from openpaisdk._secret import Secret
from openpaisdk.constants import BODY_LIMIT_BYTES
from openpaisdk.core import Client, Cluster, OpenPAIClient, in_job_container
from openpaisdk.errors import (
    ClusterConnectionError,
    ClusterError,
    ConfigError,
    JobExistsError,
    JobNotFoundError,
    LocalClusterError,
    SpecError,
    UnknownClusterError,
    WaitTimeoutError,
)
from openpaisdk.http.connection import TransportError
from openpaisdk.rest.transport import Response
from openpaisdk.rest.waiting import JOBS_PER_REQUEST
from tests.fakes import FakeTransport, recorded, reply

DOCUMENT = {
    "protocolVersion": 2,
    "name": "train",
    "type": "job",
    "secrets": {"key": "hunter2"},
    "taskRoles": {},
}


class PaiTransport(FakeTransport):
    """Names what was sent below the API's address."""

    @property
    def sent(self) -> list[str]:
        return [line.replace("http://pai.example/rest-server/api/v2", "") for line in super().sent]


def detail(state: str, **status: Any) -> Response:
    return reply(
        {"name": "train", "jobStatus": {"username": "alice", "state": state, **status}, "taskRoles": {}}
    )


def lost(kind: str = "reset", *, sent: bool = True) -> TransportError:
    return TransportError(kind, "pai.example:80: gone", sent=sent)


@pytest.fixture
def transport() -> Iterator[PaiTransport]:
    fake = PaiTransport()
    yield fake
    assert not fake.answers, "replies that nobody asked for"


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def cluster(transport: PaiTransport, pauses: list[float]) -> Cluster:
    return Cluster(
        "http://pai.example",
        alias="prod",
        user="alice",
        token="a-token",
        transport=transport,
        sleep=pauses.append,
    )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPENPAI_HOME", str(tmp_path))
    monkeypatch.delenv("PAI_SDK_CLUSTER_ALIAS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def local(home: Path, transport: PaiTransport) -> Cluster:
    """The embedded cluster, said to run as this very process."""
    (home / "local").mkdir()
    server = {
        "pid": os.getpid(),
        "uri": "http://127.0.0.1:5",
        "port": 5,
        "token": "local-token",
        "user": "me",
    }
    (home / "local" / "server.json").write_text(json.dumps(server))
    return Cluster.from_alias("local", transport=transport, sleep=lambda seconds: None)


def write_clusters(home: Path, **clusters: Any) -> Path:
    path = home / "clusters.json"
    path.write_text(json.dumps(clusters))
    path.chmod(0o600)
    return path


# --- finding a cluster -------------------------------------------------------------------------


def test_three_names_stand_for_one_class() -> None:
    assert Client is Cluster
    assert OpenPAIClient is Cluster


def test_a_cluster_is_found_by_its_alias(home: Path) -> None:
    write_clusters(home, prod={"pai_uri": "http://pai.example/", "user": "alice", "passwd": "hunter2"})
    cluster = Cluster.from_alias("prod")
    assert (cluster.alias, cluster.user, cluster.pai_uri) == ("prod", "alice", "http://pai.example")
    assert not cluster.is_embedded
    assert "hunter2" not in repr(cluster) + repr(vars(cluster))


def test_from_json_gives_the_alias_too(home: Path) -> None:
    path = write_clusters(home, prod={"pai_uri": "http://pai.example", "user": "alice"})
    cluster, alias = Client.from_json(str(path))
    assert (cluster.user, alias) == ("alice", "prod")


def test_the_setting_chooses_among_several(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clusters(home, prod={"pai_uri": "http://a"}, test={"pai_uri": "http://b"})
    with pytest.raises(ConfigError, match="several clusters"):
        Cluster.from_alias()
    monkeypatch.setenv("PAI_SDK_CLUSTER_ALIAS", "test")
    assert Cluster.from_alias().alias == "test"


def test_an_unknown_alias_is_an_error(home: Path) -> None:
    with pytest.raises(UnknownClusterError):
        Cluster.from_alias("prod")


def test_an_entry_without_an_address_is_an_error(home: Path) -> None:
    write_clusters(home, prod={"user": "alice"})
    with pytest.raises(ConfigError, match="no pai_uri"):
        Cluster.from_alias("prod")


def test_the_setting_fills_in_a_user_for_a_password(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clusters(home, prod={"pai_uri": "http://pai.example", "passwd": "hunter2"})
    monkeypatch.setenv("PAI_SDK_USER", "dora")
    assert Cluster.from_alias("prod").user == "dora"


def test_the_embedded_cluster_is_there_without_any_definition(
    local: Cluster, transport: PaiTransport
) -> None:
    transport.will_answer(reply([]))
    assert Cluster.from_alias().alias == "local"
    assert local.is_embedded
    assert local.jobs() == []
    assert transport.requests[0].url == "http://127.0.0.1:5/rest-server/api/v2/jobs?username=me&limit=51"
    assert transport.requests[0].headers["Authorization"] == "Bearer local-token"
    assert (local.user, local.pai_uri, local.workspace) == ("me", "http://127.0.0.1:5", "/user/me")


def test_the_embedded_cluster_is_started_when_its_server_is_gone(
    home: Path, transport: PaiTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = {"pid": 1, "uri": "http://127.0.0.1:6", "token": "t", "user": "me"}
    monkeypatch.setattr(embedded, "ensure_running", lambda: started)
    transport.will_answer(reply([]))
    assert Cluster.from_alias("local", transport=transport).jobs() == []
    assert transport.requests[0].url.startswith("http://127.0.0.1:6/")


def test_another_name_for_a_local_server_is_asked_what_it_is(transport: PaiTransport) -> None:
    transport.will_answer(reply({"embedded": True}))
    assert Cluster("http://127.0.0.1:5", user="u", token="t", transport=transport).is_embedded


def test_in_a_job_the_cluster_is_named_by_the_environment(tmp_path: Path) -> None:
    cluster = Cluster.from_env({"PAI_SDK_CLUSTER_URI": "http://pai.example", "PAI_USER_NAME": "alice"})
    assert (cluster.pai_uri, cluster.user) == ("http://pai.example", "alice")


def test_in_a_job_of_the_embedded_cluster_its_storage_leads_to_it(tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("attempt-token\n")
    cluster = Cluster.from_env(
        {
            "PAI_SDK_JOB_WORKSPACE": "webhdfs://127.0.0.1:5000/user/me/jobs/train",
            "PAI_SDK_TOKEN_FILE": str(token_file),
            "PAI_USER_NAME": "me",
        }
    )
    assert (cluster.pai_uri, cluster.workspace, cluster.alias) == (
        "http://127.0.0.1:5000",
        "/user/me",
        "local",
    )
    assert cluster.rest.token() == Secret("attempt-token")


def test_outside_of_a_job_there_is_nothing_in_the_environment() -> None:
    with pytest.raises(ConfigError, match="PAI_SDK_CLUSTER_URI"):
        Cluster.from_env({})


@pytest.mark.parametrize("variable", ["PAI_CONTAINER_ID", "PAI_CURRENT_TASK_ROLE_NAME"])
def test_a_job_is_recognised_by_its_variables(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    for name in ("PAI_CONTAINER_ID", "PAI_CURRENT_TASK_ROLE_NAME"):
        monkeypatch.delenv(name, raising=False)
    assert not in_job_container()
    monkeypatch.setenv(variable, "")
    assert not in_job_container()
    monkeypatch.setenv(variable, "worker")
    assert in_job_container()
    assert not in_job_container("MY_OWN_MARK")


# --- who we are --------------------------------------------------------------------------------


def test_the_user_of_a_bare_token_is_asked_for(transport: PaiTransport) -> None:
    transport.will_answer(reply({"username": "carol"}))
    cluster = Cluster("http://pai.example", token="t", transport=transport)
    assert cluster.user == "carol"
    assert cluster.user == "carol"


def test_logging_in_gives_a_token_to_keep(transport: PaiTransport) -> None:
    transport.will_answer(recorded("login"))
    cluster = Cluster("http://pai.example", user="admin", password="secret-password", transport=transport)
    reply = cluster.login()
    assert (reply["user"], reply["admin"], reply["token"]) == ("admin", True, Secret("<token:admin0>"))


def test_a_known_token_is_checked(cluster: Cluster, transport: PaiTransport) -> None:
    transport.will_answer(reply({"username": "alice", "admin": False}))
    assert cluster.login() == {"user": "alice", "admin": False, "token": Secret("a-token")}


# --- lists -------------------------------------------------------------------------------------


def test_own_jobs_are_listed_and_more_is_told(cluster: Cluster, transport: PaiTransport) -> None:
    items = [{"name": f"j{index}", "username": "alice"} for index in range(3)]
    transport.will_answer(reply(items), reply(items))
    found = cluster.jobs(limit=2)
    assert ([job["name"] for job in found], found.more) == (["j0", "j1"], True)
    assert cluster.jobs(name_only=True, limit=3).more is False
    assert transport.sent == ["GET /jobs?username=alice&limit=3", "GET /jobs?username=alice&limit=4"]


def test_a_list_can_be_narrowed(cluster: Cluster, transport: PaiTransport) -> None:
    transport.will_answer(reply([]))
    cluster.jobs(
        states=["failed", "STOPPED"], all_users=True, virtual_cluster="vc1", keyword="a&b", tags=["t1", "t2"],
        limit=10, offset=20,
    )  # fmt: skip
    assert transport.sent == [
        "GET /jobs?state=FAILED,STOPPED&vc=vc1&keyword=a%26b&tagsContain=t1,t2&limit=11&offset=20"
    ]


def test_a_limit_of_zero_lists_all_jobs(
    cluster: Cluster, transport: PaiTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openpaisdk.rest.listing.MOST_JOBS_AT_ONCE", 2)
    transport.will_answer(reply([{"name": "a"}, {"name": "b"}]), reply([{"name": "c"}]))
    assert cluster.jobs(name_only=True, limit=0) == ["a", "b", "c"]
    assert transport.sent[1] == "GET /jobs?username=alice&limit=2&offset=2"


def test_an_old_server_that_knows_no_paging_is_cut_here(cluster: Cluster, transport: PaiTransport) -> None:
    transport.will_answer(reply([{"name": str(index)} for index in range(9)]))
    found = cluster.jobs(name_only=True, limit=2, offset=1)
    assert (found, found.more) == (["1", "2"], True)


def test_a_negative_limit_is_refused(cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match="negative"):
        cluster.jobs(limit=-1)


def test_resources_are_listed_by_virtual_cluster(cluster: Cluster, transport: PaiTransport) -> None:
    transport.will_answer(recorded("virtual clusters, in use"))
    found = cluster.resources()
    assert [entry["name"] for entry in found] == ["default"]


# --- one job -----------------------------------------------------------------------------------


def test_the_status_of_ones_own_job_needs_only_its_name(cluster: Cluster, transport: PaiTransport) -> None:
    transport.will_answer(recorded("detail, succeeded"))
    status = cluster.job_status("train")
    assert transport.sent == ["GET /jobs/alice~train"]
    assert status["link"] == "http://pai.example/job-detail.html?username=alice&jobName=train"


def test_somebody_elses_job_is_named_with_its_user(cluster: Cluster, transport: PaiTransport) -> None:
    transport.will_answer(detail("RUNNING"))
    cluster.job_detail("bob~train")
    assert transport.sent == ["GET /jobs/bob~train"]


def test_a_missing_job_is_an_error_with_a_hint(cluster: Cluster, transport: PaiTransport) -> None:
    transport.will_answer(recorded("detail, unknown job"))
    with pytest.raises(JobNotFoundError) as caught:
        cluster.job_status("train")
    assert "opai job list" in str(caught.value.hint)


def test_looking_for_a_link_survives_a_broken_connection(local: Cluster, transport: PaiTransport) -> None:
    transport.will_answer(lost("reset"), reply({"link": "http://127.0.0.1:5/l"}))
    assert local.link("train") == "http://127.0.0.1:5/l"


def test_a_link_of_the_embedded_cluster_is_asked_for(local: Cluster, transport: PaiTransport) -> None:
    transport.will_answer(reply({"link": "http://127.0.0.1:5/jobs/me~train?code=x"}))
    assert local.link("train") == "http://127.0.0.1:5/jobs/me~train?code=x"
    assert transport.requests[0].url == "http://127.0.0.1:5/local/v1/links"


# --- submitting --------------------------------------------------------------------------------


def test_a_submitted_job_is_named_with_its_link(cluster: Cluster, transport: PaiTransport) -> None:
    transport.will_answer(recorded("submit a marketplace job"))
    assert cluster.submit(DOCUMENT) == {
        "name": "train",
        "user": "alice",
        "cluster": "prod",
        "link": "http://pai.example/job-detail.html?username=alice&jobName=train",
    }
    assert transport.requests[0].body is not None
    assert b"hunter2" in transport.requests[0].body


def test_the_link_in_the_answer_is_taken(local: Cluster, transport: PaiTransport) -> None:
    transport.will_answer(reply({"status": 202, "link": "http://127.0.0.1:5/l"}, 202))
    assert local.submit(DOCUMENT)["link"] == "http://127.0.0.1:5/l"


def test_a_document_that_no_cluster_takes_is_refused_before_it_is_sent(cluster: Cluster) -> None:
    with pytest.raises(SpecError, match="102400 at most"):
        cluster.submit({**DOCUMENT, "description": "x" * 102400})


def test_a_taken_name_is_an_error(cluster: Cluster, transport: PaiTransport) -> None:
    transport.will_answer(recorded("submit, duplicate"))
    with pytest.raises(JobExistsError) as caught:
        cluster.submit(DOCUMENT)
    assert "another name" in str(caught.value.hint)


def test_after_a_lost_answer_the_job_that_arrived_is_found(cluster: Cluster, transport: PaiTransport) -> None:
    transport.will_answer(lost(), reply({**DOCUMENT, "secrets": "******"}))
    assert cluster.submit(DOCUMENT)["name"] == "train"
    assert transport.sent == ["POST /jobs", "GET /jobs/alice~train/config"]


def test_after_a_lost_request_the_job_is_sent_again(cluster: Cluster, transport: PaiTransport) -> None:
    transport.will_answer(lost("read-timeout"), recorded("detail, unknown job"))
    transport.will_answer(recorded("submit a marketplace job"))
    assert cluster.submit(DOCUMENT)["name"] == "train"
    assert transport.sent == ["POST /jobs", "GET /jobs/alice~train/config", "POST /jobs"]


def test_a_conflict_with_ones_own_lost_request_is_a_success(
    cluster: Cluster, transport: PaiTransport
) -> None:
    transport.will_answer(reply(status=502), recorded("detail, unknown job"), recorded("submit, duplicate"))
    transport.will_answer(reply({**DOCUMENT, "secrets": "******"}))
    assert cluster.submit(DOCUMENT)["name"] == "train"


def test_another_job_of_the_name_is_still_a_conflict(cluster: Cluster, transport: PaiTransport) -> None:
    other = {**DOCUMENT, "type": "other"}
    transport.will_answer(lost(), reply(other), recorded("submit, duplicate"), reply(other))
    with pytest.raises(JobExistsError):
        cluster.submit(DOCUMENT)


def test_a_request_that_was_never_sent_is_not_looked_for(cluster: Cluster, transport: PaiTransport) -> None:
    transport.will_answer(lost("dns", sent=False))
    with pytest.raises(ClusterConnectionError):
        cluster.submit(DOCUMENT)


# --- stopping ----------------------------------------------------------------------------------


def test_a_stopped_job_is_stopping_though_its_state_lags(cluster: Cluster, transport: PaiTransport) -> None:
    transport.will_answer(recorded("stop"), detail("RUNNING"))
    assert cluster.stop("train") == {"name": "train", "state": "STOPPING"}


def test_a_job_that_ended_long_ago_stays_as_it_is(cluster: Cluster, transport: PaiTransport) -> None:
    transport.will_answer(recorded("stop a succeeded job that has left the API server"), detail("SUCCEEDED"))
    assert cluster.stop("train") == {"name": "train", "state": "SUCCEEDED"}


def test_a_stop_that_fails_is_an_error(cluster: Cluster, transport: PaiTransport) -> None:
    transport.will_answer(recorded("stop while write-merger is down"), detail("RUNNING"))
    with pytest.raises(ClusterError, match="ECONNREFUSED"):
        cluster.stop("train")


# --- waiting -----------------------------------------------------------------------------------


def test_waiting_looks_again_until_all_have_ended(
    cluster: Cluster, transport: PaiTransport, pauses: list[float]
) -> None:
    transport.will_answer(
        detail("RUNNING"), detail("SUCCEEDED", appExitCode=0), detail("FAILED", appExitCode=255)
    )
    results = cluster.wait(["a", "b"])
    assert results == [
        {"name": "a", "state": "FAILED", "exit_code": 255, "user_exit_code": None},
        {"name": "b", "state": "SUCCEEDED", "exit_code": 0, "user_exit_code": 0},
    ]
    assert transport.sent == ["GET /jobs/alice~a", "GET /jobs/alice~b", "GET /jobs/alice~a"]
    assert pauses == [0.5]


def test_a_wait_of_no_time_looks_once(cluster: Cluster, transport: PaiTransport) -> None:
    transport.will_answer(detail("RUNNING"))
    with pytest.raises(WaitTimeoutError, match="job 'train' has not ended") as caught:
        cluster.wait("train", timeout_s=0)
    assert caught.value.last[0]["state"] == "RUNNING"


def test_the_embedded_cluster_is_asked_to_answer_at_the_end(local: Cluster, transport: PaiTransport) -> None:
    ended = {"state": "FAILED", "exit_code": 255, "user_exit_code": 3}
    transport.will_answer(
        reply({"done": False, "jobs": {"me~a": {"state": "RUNNING"}}}),
        reply({"done": True, "jobs": {"me~a": ended}}),
    )
    assert local.wait("a") == [{"name": "a", **ended}]
    assert json.loads(transport.requests[0].body or b"") == {
        "jobs": ["me~a"],
        "timeout_s": 30.0,
        "mode": "all",
    }
    assert transport.requests[0].timeout[1] > 30


def test_waiting_for_nothing_is_over_at_once(local: Cluster) -> None:
    assert local.wait([]) == []


def test_a_wait_at_the_embedded_cluster_times_out(local: Cluster, transport: PaiTransport) -> None:
    transport.will_answer(
        reply({"done": False, "jobs": {"me~a": {"state": "RUNNING"}, "me~b": {"state": "FAILED"}}})
    )
    with pytest.raises(WaitTimeoutError, match="1 of 2 jobs"):
        local.wait(["a", "b"], timeout_s=0)


def test_thousands_of_jobs_are_waited_for_in_requests_that_a_server_takes(
    local: Cluster, transport: PaiTransport
) -> None:
    names = [f"{number:05}-{'x' * 249}" for number in range(1000)]
    for begin in range(0, 1000, JOBS_PER_REQUEST):
        group = names[begin : begin + JOBS_PER_REQUEST]
        ended = {f"me~{name}": {"state": "SUCCEEDED", "exit_code": 0} for name in group}
        transport.will_answer(reply({"done": True, "jobs": ended}))
    results = local.wait(names)
    assert [result["name"] for result in results] == names
    assert {result["state"] for result in results} == {"SUCCEEDED"}
    assert max(len(request.body or b"") for request in transport.requests) < BODY_LIMIT_BYTES


def test_one_group_of_jobs_that_has_not_ended_is_a_timeout(local: Cluster, transport: PaiTransport) -> None:
    names = [str(number) for number in range(JOBS_PER_REQUEST + 1)]
    running = {f"me~{name}": {"state": "RUNNING"} for name in names[:-1]}
    transport.will_answer(
        reply({"done": False, "jobs": running}),
        reply({"done": True, "jobs": {f"me~{names[-1]}": {"state": "FAILED"}}}),
    )
    with pytest.raises(
        WaitTimeoutError, match=f"{JOBS_PER_REQUEST} of {JOBS_PER_REQUEST + 1} jobs"
    ) as caught:
        local.wait(names, timeout_s=0)
    assert caught.value.last[-1]["state"] == "FAILED"


# --- logs --------------------------------------------------------------------------------------


def two_tasks() -> Response:
    tasks = [
        {"taskIndex": index, "containerLog": f"/api/v2/logs/{index}", "launchedTime": 1} for index in range(2)
    ]
    return reply({"jobStatus": {"state": "RUNNING"}, "taskRoles": {"worker": {"taskStatuses": tasks}}})


def log_of(name: str) -> list[Response]:
    return [reply({"locations": [{"name": "all", "uri": "/l"}]}), Response(200, {}, name.encode())]


def test_logs_of_several_tasks_are_told_apart(cluster: Cluster, transport: PaiTransport) -> None:
    transport.will_answer(two_tasks(), *log_of("zero"), *log_of("one\n"))
    assert cluster.logs("train") == "==> worker-0 <==\nzero\n==> worker-1 <==\none\n"


def test_the_log_of_one_task_is_its_bare_text(cluster: Cluster, transport: PaiTransport) -> None:
    transport.will_answer(two_tasks(), *log_of("one"))
    assert cluster.logs("train", index=1) == "one"


def test_events_of_the_embedded_cluster_are_handed_on(local: Cluster, transport: PaiTransport) -> None:
    lines = b'{"type":"log","text":"hi\\n"}\n{"type":"end","state":"SUCCEEDED"}\n'
    transport.will_answer(Response(200, {}, iter([lines[:10], lines[10:]])))
    assert [event["type"] for event in local.follow("a", role="w", tail=5)] == ["log", "end"]
    assert transport.requests[0].url.endswith("/local/v1/follow?job=me~a&role=w&stream=all&tail=5&after=")


def test_waiting_goes_on_at_the_server_that_was_started_again(
    local: Cluster, transport: PaiTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = {"uri": "http://127.0.0.1:6", "token": "other-token", "user": "me"}
    monkeypatch.setattr(embedded, "restart_crashed", lambda: again)
    ended = {"state": "SUCCEEDED", "exit_code": 0, "user_exit_code": 0}
    transport.will_answer(reply({"done": False, "jobs": {"me~a": {"state": "RUNNING"}}}))
    transport.will_answer(lost("reset"), lost("refused", sent=False))
    transport.will_answer(reply({"done": True, "jobs": {"me~a": ended}}))
    assert local.wait("a") == [{"name": "a", **ended}]
    assert transport.requests[-1].url == "http://127.0.0.1:6/local/v1/wait"
    assert transport.requests[-1].headers["Authorization"] == "Bearer other-token"


def test_waiting_ends_when_the_server_was_stopped_on_purpose(
    local: Cluster, transport: PaiTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "restart_crashed", lambda: None)
    transport.will_answer(reply({"done": False, "jobs": {"me~a": {"state": "RUNNING"}}}))
    transport.will_answer(lost("refused", sent=False))
    with pytest.raises(ClusterConnectionError, match="stopped in the meantime") as caught:
        local.wait("a")
    assert "opai local start" in str(caught.value.hint)


def test_a_submission_that_lost_its_server_is_looked_for_at_the_next_one(
    local: Cluster, transport: PaiTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = {"uri": "http://127.0.0.1:6", "token": "local-token", "user": "me"}
    monkeypatch.setattr(embedded, "ensure_running", lambda: again)
    transport.will_answer(lost("reset"), lost("refused", sent=False), recorded("detail, unknown job"))
    transport.will_answer(reply({"status": 202, "link": "http://127.0.0.1:6/l"}, 202))
    assert local.submit(DOCUMENT)["link"] == "http://127.0.0.1:6/l"
    assert [request.method for request in transport.requests] == ["POST", "GET", "GET", "POST"]


def test_requests_can_be_traced_without_secrets(cluster: Cluster, transport: PaiTransport) -> None:
    lines: list[str] = []
    cluster.trace = lines.append
    transport.will_answer(reply([]))
    cluster.jobs()
    assert lines[0].startswith(
        "GET http://pai.example/rest-server/api/v2/jobs?username=alice&limit=51 -> 200"
    )
    assert "a-token" not in lines[0]


# --- storage -----------------------------------------------------------------------------------


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    from openpaisdk.storage import registry

    calls: list[tuple[str, dict[str, Any]]] = []

    def record(uri: str, **options: Any) -> Any:
        calls.append((uri, options))
        return SimpleNamespace()

    monkeypatch.setattr(registry, "open_storage", record)
    return calls


def test_the_embedded_storage_is_opened_with_the_token(local: Cluster, opened: Any) -> None:
    local.storage()
    assert opened == [("http://127.0.0.1:5/webhdfs/v1", {"user": "me", "token": Secret("local-token")})]


@pytest.mark.parametrize(
    ("options", "alias", "uri"),
    [
        ({"hdfs_web_uri": "http://h:1"}, None, "http://h:1"),
        (
            {"hdfs_web_uri": "http://h:1", "storages": {"s": {"web_hdfs_uri": "http://s:2"}}},
            "s",
            "http://s:2",
        ),
        (
            {"hdfs_web_uri": "http://h:1", "storages": {"s": {"uri": "http://s:2", "default": True}}},
            None,
            "http://s:2",
        ),
        ({"storages": {"s": {"uri": "http://s:2"}}}, None, "http://s:2"),
    ],
)
def test_the_storage_of_a_cluster_is_chosen(opened: Any, options: Any, alias: Any, uri: str) -> None:
    Cluster("http://pai.example", user="alice", **options).storage(alias)
    assert [call[0] for call in opened] == [uri]


def test_a_user_in_an_address_is_preferred_to_the_one_of_the_storage(opened: Any) -> None:
    storages = {"s": {"uri": "webhdfs://alice@h:1", "data_nodes": {"*": "gateway"}}}
    cluster = Cluster("http://pai.example", user="me", storages=storages)
    for address in ("webhdfs://h:1", "webhdfs://mallory@h:1"):
        cluster.storage_at(f"{address}/x")
    assert [uri for uri, _ in opened] == ["webhdfs://alice@h:1", "webhdfs://mallory@h:1"]
    assert [options["data_nodes"] for _, options in opened] == [{"*": "gateway"}] * 2


def test_an_address_is_that_of_a_storage_only_by_its_scheme_and_host(opened: Any) -> None:
    storages = {
        "hdfs": {"uri": "webhdfs://h:9870", "token": "t"},
        "bucket": {"uri": "s3://models", "options": {"key": "k"}},
        "share": {"uri": "file:///share"},
    }
    cluster = Cluster("http://pai.example", user="me", storages=storages)
    alike = ["hdfs://h:8020/x", "http://h:9870/webhdfs/v1/x", "webhdfs://h/x", "s3://models/x"]
    others = ["swebhdfs://h:9870/x", "https://h:9870/webhdfs/v1/x", "gs://models/x", "file:///other/x"]
    for uri in (*alike, *others):
        cluster.storage_at(uri)
    own = ["webhdfs://h:9870"] * 3 + ["s3://models"]
    assert [uri for uri, _ in opened[: len(alike)]] == own
    assert not {uri for uri, _ in opened[len(alike) :]} & {*own, "file:///share"}
    assert all(options["token"] is None for _, options in opened[len(alike) :])


def test_a_cluster_without_storage_says_what_to_do(cluster: Cluster) -> None:
    with pytest.raises(ConfigError, match="no storage is known") as caught:
        cluster.storage()
    assert "--hdfs-web-uri" in str(caught.value.hint)
    with pytest.raises(ConfigError, match="no storage 's'"):
        cluster.storage("s")


# --- the embedded cluster's server -------------------------------------------------------------


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch, transport: PaiTransport) -> Callable[..., None]:
    from openpaisdk.rest import client

    monkeypatch.setattr(client, "HttpTransport", lambda verify: transport)
    monkeypatch.setattr(embedded, "answers", lambda server: True)
    monkeypatch.setattr(embedded, "status", lambda: {"running": False})

    def set_gone(gone: bool) -> None:
        monkeypatch.setattr(embedded, "wait_gone", lambda pid, timeout_s: gone)

    return set_gone


def test_the_embedded_cluster_is_stopped(local: Cluster, stopping: Any, transport: PaiTransport) -> None:
    stopping(True)
    transport.will_answer(reply({"stopping": True}))
    assert core.stop_local("kill") == {"running": False}
    assert transport.requests[0].body == b'{"mode": "kill"}'


def test_running_tasks_keep_it_from_being_stopped(
    local: Cluster, stopping: Any, transport: PaiTransport
) -> None:
    stopping(True)
    transport.will_answer(
        reply({"code": "TasksRunning", "message": "2 tasks are running", "running": 2}, 409)
    )
    with pytest.raises(LocalClusterError, match="2 tasks are running") as caught:
        core.stop_local()
    assert "--leave" in str(caught.value.hint)


def test_a_server_that_does_not_end_is_reported(
    local: Cluster, stopping: Any, transport: PaiTransport
) -> None:
    stopping(False)
    transport.will_answer(reply({"stopping": True}))
    with pytest.raises(LocalClusterError, match="did not end"):
        core.stop_local("kill")


def test_stopping_what_does_not_run_is_fine(home: Path) -> None:
    assert core.stop_local()["running"] is False
