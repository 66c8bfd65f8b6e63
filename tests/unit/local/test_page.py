# SPDX-License-Identifier: MIT
"""The page of a job shows what is known and nothing can break out of it."""

from __future__ import annotations

from openpaisdk.local.records import JobRecord, Outcome, SubState, TaskRecord
from openpaisdk.local.web import page

EVIL = '"><script>alert(1)</script>&'


def job(**more) -> JobRecord:
    fields = {
        "id": 1,
        "user": "alice",
        "name": "train",
        "sub_state": SubState.COMPLETED,
        "submitted_ms": 1_000,
    }
    return JobRecord(**{**fields, **more})


def task(**more) -> TaskRecord:
    fields = {
        "job_id": 1,
        "job_attempt_id": 0,
        "role": "worker",
        "index": 3,
        "attempt_id": 0,
        "pod_uid": "p",
        "sub_state": SubState.COMPLETED,
        "created_ms": 0,
        "outcome": Outcome(exit_code=255, user_exit_code=42),
    }
    return TaskRecord(**{**fields, **more})


def test_state_tasks_and_log_are_shown():
    shown = page.job_page(
        job(outcome=Outcome(exit_code=0)), [task()], [page.LogEnd(title="worker-3", text="the log", cut=True)]
    )
    for text in (
        "train",
        "alice",
        "SUCCEEDED",
        "worker-3",
        "255",
        "42",
        "PAIRuntimeUnknownFailed",
        "the log",
    ):
        assert text in shown, text


def test_every_text_is_escaped():
    evil_job = job(user=EVIL, name=EVIL, virtual_cluster=EVIL, outcome=Outcome(exit_code=1, diagnostics=EVIL))
    texts = [
        page.job_page(evil_job, [task(role=EVIL)], [page.LogEnd(title=EVIL, text=EVIL, cut=False)]),
        page.job_list_page([evil_job], EVIL),
        page.message_page(EVIL, EVIL),
    ]
    for text in texts:
        assert "<script" not in text
        assert 'href="/jobs/"' not in text


def test_only_what_still_changes_loads_itself_again():
    assert 'http-equiv="refresh"' in page.job_page(job(sub_state=SubState.RUNNING), [], [])
    assert "refresh" not in page.job_page(job(outcome=Outcome(exit_code=0)), [], [])


def test_strangers_learn_nothing():
    assert "opai job status" in page.stranger_page()


def test_an_empty_list_says_so():
    assert "No job" in page.job_list_page([], "http://127.0.0.1:1")
