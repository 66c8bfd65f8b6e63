# SPDX-License-Identifier: MIT
"""Replies of the embedded cluster have the keys of recorded ones, and say what the records say."""

from __future__ import annotations

import json
from datetime import date, datetime, timezone
from pathlib import Path

import pytest

from openpaisdk.local.access.users import Account
from openpaisdk.local.api import replies
from openpaisdk.local.jobs.store import MEMORY, JobStore
from openpaisdk.local.records import (
    AttemptRecord,
    EventRecord,
    JobQuery,
    JobRecord,
    JobRow,
    Outcome,
    SubState,
    TaskRecord,
)

CORPUS = Path(__file__).parents[4] / "shared" / "corpus" / "rest" / "transcripts.json"
RUNTIME = {
    "exitCode": 255,
    "originUserExitCode": 3,
    "errorLogs": {"user": "boom", "platform": ""},
    "name": "app",
}


def outcome(code: int = 0) -> Outcome:
    return Outcome(
        exit_code=code,
        diagnostics="Pod succeeded" if code == 0 else "Pod failed",
        user_exit_code=0 if code == 0 else 3,
        runtime=None if code == 0 else RUNTIME,
        trigger_message="a trigger",
        trigger_role="worker",
        trigger_index=0,
    )


def job(*, sub_state: SubState = SubState.COMPLETED, code: int | None = 0, **more) -> JobRecord:
    fields = {
        "id": 1,
        "user": "alice",
        "name": "train",
        "sub_state": sub_state,
        "submitted_ms": 1_000,
        "created_ms": 2_000,
        "launched_ms": 3_000,
        "completed_ms": 4_000 if sub_state is SubState.COMPLETED else None,
        "attempt_id": 0,
        "total_tasks": 1,
        "total_roles": 1,
        "outcome": None if code is None else outcome(code),
    }
    return JobRecord(**{**fields, **more})


def attempt(
    *, number: int = 0, sub_state: SubState = SubState.COMPLETED, code: int | None = 0
) -> AttemptRecord:
    return AttemptRecord(
        job_id=1,
        attempt_id=number,
        uid="uid",
        sub_state=sub_state,
        created_ms=2_000,
        launched_ms=3_000,
        completed_ms=4_000,
        outcome=None if code is None else outcome(code),
    )


def task(
    *, number: int = 0, sub_state: SubState = SubState.COMPLETED, code: int | None = 0, **more
) -> TaskRecord:
    fields = {
        "job_id": 1,
        "job_attempt_id": 0,
        "role": "worker",
        "index": 0,
        "attempt_id": number,
        "pod_uid": "pod",
        "sub_state": sub_state,
        "created_ms": 2_000 + number,
        "launched_ms": 3_000 + number,
        "completed_ms": 4_000 + number,
        "ports": {"ssh": [20000], "http": [20001, 20002]},
        "outcome": None if code is None else outcome(code),
    }
    return TaskRecord(**{**fields, **more})


def listed(shown: JobRecord) -> list[JobRow]:
    """The job as a list of the store shows it."""
    store = JobStore(MEMORY)
    store.insert_job(shown, {})
    rows, _ = store.page(JobQuery())
    store.close()
    return rows


def detail(shown: JobRecord, with_attempt: AttemptRecord | None, *tasks: TaskRecord) -> dict:
    return replies.job_detail(shown, with_attempt, [(one, one) for one in tasks], ip="127.0.0.1")


def waiting_job() -> JobRecord:
    return job(
        sub_state=SubState.CREATION_PENDING, code=None, attempt_id=None, created_ms=None, launched_ms=None
    )


@pytest.fixture(scope="module")
def recorded() -> dict[str, object]:
    if not CORPUS.exists():
        pytest.skip("the recordings are not at hand")
    exchanges = json.loads(CORPUS.read_text("utf-8"))
    return {item["name"]: item["response"].get("json") for item in exchanges}


def shape(value: object) -> object:
    """Keys all the way down, in order; of a list its first entry counts."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return None


SPECS = ("appExitSpec", "containerExitSpec", "containerPorts", "runtime")
"""Parts whose keys depend on the exit code or on the job."""


def without_specs(value: object) -> object:
    if isinstance(value, dict):
        return {key: None if key in SPECS else without_specs(item) for key, item in value.items()}
    return [without_specs(item) for item in value] if isinstance(value, list) else value


def same_shape(ours: object, theirs: object) -> bool:
    return json.dumps(shape(without_specs(ours))) == json.dumps(shape(without_specs(theirs)))


def test_a_finished_job_has_the_recorded_shape(recorded):
    ours = detail(job(), attempt(), task())
    assert same_shape(ours, recorded["detail, succeeded"])


def test_a_waiting_job_has_the_recorded_shape(recorded):
    assert same_shape(detail(waiting_job(), None), recorded["detail of a job that is only in the database"])


def test_a_running_job_has_the_recorded_shape(recorded):
    running = {"sub_state": SubState.RUNNING, "code": None}
    ours = detail(job(**running), attempt(**running), task(**running))
    assert same_shape(ours, recorded["detail, running"])


def test_job_attempts_have_the_recorded_shape(recorded):
    ours = [replies.job_attempt(job(), attempt(), [task()], ip="127.0.0.1", latest=True)]
    assert same_shape(ours, recorded["job attempts"])
    waiting = [replies.job_attempt(waiting_job(), None, [], ip="127.0.0.1", latest=True)]
    assert same_shape(waiting, recorded["job attempts of a job that is only in the database"])


def test_task_attempts_have_the_recorded_shape(recorded):
    ours = replies.task_attempts(job(), [task()], ip="127.0.0.1")
    assert same_shape(ours, recorded["task attempts"])


def test_a_list_has_the_recorded_shape(recorded):
    ours = json.loads(replies.job_list(listed(job())))
    assert same_shape(ours, recorded["list"])


def test_events_have_the_recorded_shape(recorded):
    event = EventRecord(job_id=1, at_ms=1_500, type="Warning", reason="Because", message="so")
    ours = replies.event_list(job(), [event])
    assert same_shape(ours, recorded["events of a job that the API server refused"])


def test_a_user_has_the_recorded_shape_without_the_private_key(recorded):
    account = Account(name="admin", groups=("default", "admingroup"), extension={"jobSSH": {"key": "-----"}})
    ours = replies.user(
        account, admin=True, virtual_clusters=["default"], storages=[], with_private_parts=False
    )
    assert list(ours) == list(recorded["user"])
    assert ours["grouplist"] == recorded["user"]["grouplist"]
    assert ours["extension"] == {}


def test_a_virtual_cluster_has_the_recorded_shape_and_numbers(recorded):
    ours = {"default": replies.virtual_cluster((72, 12, 589824), (8, 2, 16384), 12)}
    assert ours == recorded["virtual clusters, in use"]
    assert list(ours["default"]) == list(recorded["virtual clusters, in use"]["default"])


def test_a_machine_without_gpus_has_no_largest_capacity():
    ours = replies.virtual_cluster((4, 0, 1024), (1, 0, 512), 0)
    assert (ours["capacity"], ours["usedCapacity"]) == (0, 0)
    assert "maxCapacity" not in ours


def test_the_row_of_a_list_is_what_the_detail_says():
    shown = job(code=255, attempt_id=2, counted_retries=1, tags=("a", 'b"<'), priority="prod")
    (row,) = json.loads(replies.job_list(listed(shown)))
    status = detail(shown, attempt(code=255))["jobStatus"]
    for name in (
        "state",
        "subState",
        "executionType",
        "retries",
        "retryDetails",
        "retryDelayTime",
        "createdTime",
    ):
        assert row[name] == status[name], name
    assert row["retryDetails"] == {"user": 1, "platform": 1, "resource": 0}
    assert row["tags"] == ["a", 'b"<']
    assert (row["appExitCode"], row["jobPriority"]) == (255, "prod")
    assert row["debugId"] == replies.framework_id("alice~train")


def test_the_total_wraps_a_list():
    assert json.loads(replies.job_list([], 7)) == {"totalCount": 7, "data": []}


def test_texts_of_users_cannot_break_a_list():
    (stored,) = listed(job())
    evil = stored._replace(tags='"}]\n,\u2028,ü,\ud800', virtual_cluster='v"')
    (row,) = json.loads(replies.job_list([evil]))
    assert row["tags"] == ['"}]\n', "\u2028", "ü", "\ud800"]


def test_a_retry_delay_is_shown_only_while_it_runs(monkeypatch):
    monkeypatch.setattr(replies.time, "time", lambda: 100.0)
    pending = job(sub_state=SubState.ATTEMPT_COMPLETED, code=-100, retry_at_ms=130_500)
    assert detail(pending, None)["jobStatus"]["retryDelayTime"] == 31
    assert detail(job(retry_at_ms=130_500), None)["jobStatus"]["retryDelayTime"] is None


def test_messages_of_the_runtime_take_the_launchers_place():
    assert replies.exit_messages(outcome(255)) == {"container": None, "runtime": RUNTIME, "launcher": None}
    assert replies.exit_messages(outcome(0)) == {
        "container": None,
        "runtime": None,
        "launcher": "Pod succeeded",
    }
    assert replies.exit_messages(Outcome(exit_code=1)) is None
    assert replies.exit_messages(None) is None


def test_ports_are_texts_and_several_are_joined():
    (status,) = detail(job(), attempt(), task())["taskRoles"]["worker"]["taskStatuses"]
    assert status["containerPorts"] == {"ssh": "20000", "http": "20001,20002"}


def test_a_retried_task_keeps_the_times_of_its_first_attempt():
    newest, first = task(number=1), task(number=0)
    shown = replies.job_detail(job(), attempt(), [(newest, first)], ip="127.0.0.1")
    (status,) = shown["taskRoles"]["worker"]["taskStatuses"]
    assert (status["createdTime"], status["currentAttemptCreatedTime"]) == (2_000, 2_001)
    assert (status["retries"], status["attemptId"]) == (1, 1)
    assert status["containerLog"].endswith("/taskIndex/0/attempts/1/logs")


def test_an_older_attempt_is_shown_beside_the_jobs_newest_state():
    shown = detail(job(attempt_id=1), attempt(number=0, sub_state=SubState.ATTEMPT_COMPLETED, code=255))
    assert shown["jobStatus"]["state"] == "SUCCEEDED"
    assert shown["jobStatus"]["attemptState"] == "FAILED"
    assert (shown["jobStatus"]["attemptId"], shown["jobStatus"]["appExitCode"]) == (0, 255)


def test_tasks_that_never_started_have_no_address():
    (status,) = detail(job(), attempt(), task(launched_ms=None))["taskRoles"]["worker"]["taskStatuses"]
    assert (status["containerIp"], status["containerNodeName"]) == ("", "")


def test_gpus_are_a_bit_mask_in_job_attempts_only():
    with_gpus = task(gpus=(0, 3))
    older = replies.job_attempt(job(), attempt(), [with_gpus], ip="127.0.0.1", latest=True)
    assert older["taskRoles"]["worker"]["taskStatuses"][0]["containerGpus"] == 0b1001
    newer = detail(job(), attempt(), with_gpus)
    assert newer["taskRoles"]["worker"]["taskStatuses"][0]["containerGpus"] is None


def test_a_document_is_shown_with_the_numbers_of_javascript():
    document = {
        "a": 1.0,
        "b": 1.5,
        "c": float("nan"),
        "d": [2.0],
        "e": datetime(2020, 1, 2, 3, 4, 5, 678000, tzinfo=timezone.utc),
        "f": date(2020, 1, 2),
        3: True,
    }
    assert json.loads(replies.config_text(document)) == {
        "a": 1,
        "b": 1.5,
        "c": None,
        "d": [2],
        "e": "2020-01-02T03:04:05.678Z",
        "f": "2020-01-02T00:00:00.000Z",
        "3": True,
    }
    assert b'"a":1,' in replies.config_text(document)


def test_uids_are_stable_and_differ():
    assert replies.stable_uid("a", 1) == replies.stable_uid("a", 1) != replies.stable_uid("a", 2)
    assert [len(part) for part in replies.stable_uid("a").split("-")] == [8, 4, 4, 4, 12]
