# SPDX-License-Identifier: MIT
"""What is stored comes back, in order, and a failed write is neither lost nor told as done."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from openpaisdk.errors import JobExistsError, LocalClusterError
from openpaisdk.local.jobs.store import SCHEMA_VERSION, JobStore
from openpaisdk.local.records import (
    AttemptRecord,
    EventRecord,
    JobQuery,
    JobRecord,
    Outcome,
    SubState,
    TaskRecord,
)

FIXTURES = Path(__file__).parents[2] / "fixtures"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    store = JobStore(str(tmp_path / "cluster.db"))
    yield store
    store.close()


def add(store: JobStore, name: str, **fields: object) -> JobRecord:
    values: dict[str, object] = {
        "user": "alice",
        "sub_state": SubState.CREATION_PENDING,
        "submitted_ms": 1000,
    }
    record = JobRecord(id=0, name=name, **{**values, **fields})  # type: ignore[arg-type]
    store.insert_job(record, {"name": name})
    return record


def names(store: JobStore, **query: object) -> list[str]:
    return [job.name for job in store.page(JobQuery(**query))[0]]  # type: ignore[arg-type]


def test_a_job_comes_back_as_it_was_stored(store: JobStore) -> None:
    outcome = Outcome(exit_code=255, diagnostics="d", user_exit_code=42, runtime={"exitCode": 255})
    record = add(store, "j", tags=("a", "b"), sub_state=SubState.COMPLETED, outcome=outcome, completed_ms=5)
    assert store.job("alice", "j") == record
    assert store.document(record.id) == {"name": "j"}


def test_attempts_tasks_and_events_come_back_as_they_were_stored(store: JobStore) -> None:
    record = add(store, "j")
    attempt = AttemptRecord(job_id=record.id, attempt_id=0, uid="u", sub_state=SubState.RUNNING, created_ms=1)
    task = TaskRecord(
        job_id=record.id,
        job_attempt_id=0,
        role="w",
        index=1,
        attempt_id=0,
        pod_uid="p",
        sub_state=SubState.RUNNING,
        created_ms=1,
        ports={"http": [15001]},
        gpus=(0, 2),
        pid=7,
    )
    event = EventRecord(job_id=record.id, at_ms=3, type="Warning", reason="R", message="m", role="w", index=1)
    store.save_attempt(attempt)
    store.save_task(task)
    store.add_event(event)
    assert store.attempts(record.id) == [attempt]
    assert store.tasks(record.id, 0) == [task]
    assert store.events(record.id) == [event]


def test_a_name_is_taken_for_ever(store: JobStore) -> None:
    add(store, "j")
    with pytest.raises(JobExistsError):
        add(store, "j")
    add(store, "j", user="bob")


def test_everything_is_there_after_closing_and_opening(tmp_path: Path) -> None:
    path = str(tmp_path / "cluster.db")
    first = JobStore(path)
    add(first, "j")
    fact = first.fact("uid", "x")
    first.close()
    second = JobStore(path)
    assert names(second) == ["j"]
    assert second.fact("uid", "other") == fact
    assert [job.name for job in second.open_jobs()] == ["j"]
    second.close()


def test_the_database_is_its_owners_alone(store: JobStore) -> None:
    add(store, "j")
    assert stat.S_IMODE(os.stat(store.path).st_mode) == 0o600


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "cluster.db"
    path.write_text("not a database, but long enough to be looked at" * 50)
    with pytest.raises(LocalClusterError, match="cannot be used"):
        JobStore(str(path))
    assert path.read_text().startswith("not a database")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param({}, ["c", "b", "a"], id="newest-first"),
        pytest.param({"descending": False}, ["a", "b", "c"], id="oldest-first"),
        pytest.param({"users": ("bob",)}, ["b"], id="by-user"),
        pytest.param({"states": ("SUCCEEDED", "FAILED")}, ["c"], id="by-state"),
        pytest.param({"keyword": "b"}, ["b"], id="by-keyword"),
        pytest.param({"keyword": "B"}, [], id="keyword-minds-the-case"),
        pytest.param({"tags_contain": ("t1", "zz")}, ["a"], id="has-one-of-the-tags"),
        pytest.param({"tags_contain": ("t",)}, [], id="a-part-of-a-tag-is-no-tag"),
        pytest.param({"tags_not_contain": ("t1",)}, ["c", "b"], id="has-none-of-the-tags"),
        pytest.param({"priorities": ("prod",)}, ["b"], id="by-priority"),
        pytest.param({"priorities": ("default",)}, ["c", "a"], id="without-priority"),
        pytest.param(
            {"priorities": ("default",), "keyword": "bob"}, ["c", "b", "a"], id="default-or-keyword"
        ),
        pytest.param({"limit": 1, "offset": 1}, ["b"], id="page"),
        pytest.param({"order_by": "jobName", "descending": False}, ["a", "b", "c"], id="by-name"),
        pytest.param({"order_by": "completionTime"}, ["b", "a", "c"], id="open-ones-first"),
        pytest.param({"order_by": "completionTime", "descending": False}, ["c", "a", "b"], id="open-last"),
    ],
)
def test_lists(store: JobStore, query: dict[str, object], expected: list[str]) -> None:
    add(store, "a", tags=("t1", "t2"))
    add(store, "b", user="bob", priority="prod")
    add(store, "c", sub_state=SubState.COMPLETED, completed_ms=9, outcome=Outcome(exit_code=0))
    assert names(store, **query) == expected


def test_the_total_counts_all_pages(store: JobStore) -> None:
    for number in range(5):
        add(store, f"j{number}")
    page, total = store.page(JobQuery(limit=2, with_total_count=True))
    assert (len(page), total) == (2, 5)


@pytest.mark.parametrize("order_by", ["submissionTime", "jobName", "completionTime", "jobPriority", "state"])
@pytest.mark.parametrize("descending", [True, False])
def test_pages_in_order_show_every_job_once_also_when_jobs_come_in_between(
    store: JobStore, order_by: str, descending: bool
) -> None:
    for number in range(20):
        over = {"completed_ms": number // 3, "sub_state": SubState.COMPLETED, "outcome": Outcome(exit_code=0)}
        priority = ("prod", None, "test")[number % 3]
        add(store, f"j{number:02}", priority=priority, **(over if number % 2 else {}))
    asked = {"order_by": order_by, "descending": descending, "limit": 3}
    expected = names(store, **{**asked, "limit": 100})
    seen: list[str] = []
    while len(seen) < 20:
        page = names(store, **asked, offset=len(seen))
        assert page
        seen += page
        if descending and order_by == "submissionTime":
            add(store, f"later{len(seen)}")
    assert seen == expected


def test_a_page_that_does_not_follow_is_counted_out(store: JobStore) -> None:
    for number in range(10):
        add(store, f"j{number}")
    assert names(store, limit=2, offset=6) == ["j3", "j2"]
    names(store, limit=4)
    add(store, "later")
    assert names(store, limit=2, offset=4) == ["j5", "j4"]
    assert names(store, limit=2, offset=5) == ["j5", "j4"]


def test_readers_have_pages_of_their_own(store: JobStore) -> None:
    for number in range(4):
        add(store, f"j{number}")

    def page(reader: str, offset: int) -> list[str]:
        return [job.name for job in store.page(JobQuery(limit=2, offset=offset), reader)[0]]

    assert page("alice", 0) == ["j3", "j2"]
    add(store, "later")
    assert page("bob", 0) == ["later", "j3"]
    assert page("alice", 2) == ["j1", "j0"]
    assert page("bob", 2) == ["j2", "j1"]


def test_pages_are_read_by_an_index_at_any_depth(store: JobStore) -> None:
    for number in range(9):
        add(store, f"j{number}")
    statements: list[str] = []
    store._connection.set_trace_callback(statements.append)
    for query in (
        {},
        {"users": ("alice",)},
        {"states": ("WAITING",)},
        {"virtual_clusters": ("default",)},
        {"users": ("alice",), "states": ("WAITING",)},
        {"order_by": "completionTime"},
        {"order_by": "completionTime", "descending": False},
    ):
        for offset in (0, 3, 6):
            names(store, **query, limit=3, offset=offset)
    store._connection.set_trace_callback(None)
    assert len(statements) == 21
    for number, statement in enumerate(statements):
        plan = " ".join(row[3] for row in store._connection.execute(f"EXPLAIN QUERY PLAN {statement}"))
        assert "OFFSET" not in statement
        assert "TEMP B-TREE" not in plan, statement
        if number % 3:  # a first page may begin at the end of the table itself
            assert "SCAN" not in plan, statement


def test_half_a_surrogate_pair_harms_neither_its_job_nor_others_of_the_same_turn(store: JobStore) -> None:
    async def submit() -> None:
        add(store, "other")
        broken = add(store, "j", tags=("\ud800",), outcome=Outcome(exit_code=1, diagnostics="\ud800"))
        store.add_event(EventRecord(job_id=broken.id, at_ms=1, type="Normal", reason="R", message="\udcff"))
        await store.durable()
        assert [event.message for event in store.events(broken.id)] == ["?"]

    asyncio.run(submit())
    assert names(store) == ["j", "other"]
    found = store.job("alice", "j")
    assert found is not None
    assert found.tags == ("?",)
    assert found.outcome == Outcome(exit_code=1, diagnostics="\ud800")


def test_totals_follow_the_jobs(store: JobStore) -> None:
    def total(**query: object) -> int | None:
        return store.page(JobQuery(limit=1, with_total_count=True, **query))[1]  # type: ignore[arg-type]

    first, second = add(store, "first"), add(store, "second", virtual_cluster="team")
    assert store.counts_by_state() == {"WAITING": 2}
    assert (total(), total(users=("bob",)), total(states=("WAITING",))) == (2, 0, 2)
    third = add(store, "third", user="bob")
    first.sub_state = SubState.RUNNING
    store.save_job(first)
    second.sub_state, second.outcome, second.completed_ms = SubState.COMPLETED, Outcome(exit_code=0), 5
    store.save_job(second)
    second.tags = ("t",)
    store.save_job(second)
    assert (total(), total(users=("bob", "alice")), total(virtual_clusters=("team",))) == (3, 3, 1)
    assert store.counts_by_state() == {"RUNNING": 1, "SUCCEEDED": 1, "WAITING": 1}
    assert total(tags_contain=("t",)) == total(keyword="con") == 1
    store.withdraw_job(third.id)
    assert total() == 2


def test_a_database_of_the_first_format_opens_with_all_its_jobs(tmp_path: Path) -> None:
    path = str(tmp_path / "cluster.db")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript((FIXTURES / "cluster-format-1.sql").read_text())
    for _ in range(2):
        store = JobStore(path)
        if store.job("alice", "new") is None:
            add(store, "new")
        assert names(store, order_by="completionTime") == ["new", "waiting", "old"]
        assert [store.document(job.id)["name"] for job in store.open_jobs()] == ["waiting", "new"]
        store.close()


def test_a_database_of_a_later_format_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "cluster.db")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    with pytest.raises(LocalClusterError, match=f"its format is {SCHEMA_VERSION + 1}"):
        JobStore(path)


def test_nothing_of_a_submission_that_cannot_be_written_is_kept(store: JobStore) -> None:
    async def submit() -> None:
        before = add(store, "before")
        await store.durable()
        store._connection.execute("PRAGMA query_only=ON")
        before.sub_state = SubState.RUNNING
        store.save_job(before)
        add(store, "j")
        with pytest.raises(LocalClusterError, match="cannot write"):
            await store.durable()
        store._connection.execute("PRAGMA query_only=OFF")
        await store.durable()

    asyncio.run(submit())
    assert [(job.name, job.sub_state) for job in store.open_jobs()] == [("before", SubState.RUNNING)]
    add(store, "j")


def test_two_submissions_of_one_name_cannot_both_be_pending(store: JobStore) -> None:
    async def submit() -> None:
        store._connection.execute("PRAGMA query_only=ON")
        add(store, "other")
        store.flush()
        add(store, "j")
        with pytest.raises(JobExistsError):
            add(store, "j")

    asyncio.run(submit())


def record_order(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows with each commit and with the begin and end of each sync."""
    order: list[str] = []

    def note_commit(statement: str) -> None:
        if statement == "COMMIT":
            order.append("commit")

    store._connection.set_trace_callback(note_commit)
    real_sync = os.fdatasync

    def sync(descriptor: int) -> None:
        order.append("sync begins")
        assert os.readlink(f"/proc/self/fd/{descriptor}") == f"{store.path}-wal"
        time.sleep(0.01)
        real_sync(descriptor)
        order.append("sync ends")

    monkeypatch.setattr(os, "fdatasync", sync)
    return order


def test_a_submission_is_told_as_durable_only_after_a_sync_that_began_after_its_commit(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = record_order(store, monkeypatch)

    async def submit(number: int) -> None:
        for _ in range(number % 7):
            await asyncio.sleep(0.003)  # so that they come at any moment of the syncs of others
        add(store, f"j{number}")
        row = len(order)
        await store.durable()
        commit = order.index("commit", row)
        began = order.index("sync begins", commit)
        assert "sync ends" in order[began:], order

    async def submit_all() -> None:
        await asyncio.gather(*(submit(number) for number in range(60)))

    asyncio.run(submit_all())
    assert order.count("sync ends") < 60  # and many share one


def test_a_waiter_that_comes_as_a_sync_ends_waits_for_its_own(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sync's end and the next submission in one turn of the loop, in the order that is dangerous."""
    order = record_order(store, monkeypatch)

    async def submit() -> None:
        add(store, "first")
        waiting = asyncio.ensure_future(store.durable())
        await asyncio.sleep(0)  # it asks
        await asyncio.sleep(0)  # it is committed
        syncing = store._syncing
        assert syncing is not None
        store._flush_scheduled = True  # it comes by hand below, so not before the first sync ends
        add(store, "second")
        late = asyncio.ensure_future(store.durable())
        await waiting
        await syncing
        assert not late.done()
        order.clear()
        store.flush()
        await late
        assert order == ["commit", "sync begins", "sync ends"]

    asyncio.run(submit())


def test_the_entry_of_a_new_log_is_synced_before_the_first_answer(
    store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real_sync = os.fsync

    def sync(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real_sync(descriptor)

    monkeypatch.setattr(os, "fsync", sync)

    async def submit() -> None:
        add(store, "j")
        await store.durable()

    asyncio.run(submit())
    assert synced[:2] == [str(tmp_path), str(tmp_path.parent)]


def test_a_job_whose_sync_failed_is_withdrawn_and_the_log_begun_anew(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    real_sync = os.fdatasync
    syncs: list[int] = []

    def fail_first(descriptor: int) -> None:
        syncs.append(descriptor)
        if len(syncs) == 1:
            release.wait(30)
            raise OSError(errno.EIO, "Input/output error")
        real_sync(descriptor)

    async def submit() -> None:
        kept = add(store, "kept")
        await store.durable()
        monkeypatch.setattr(os, "fdatasync", fail_first)
        lost = add(store, "lost")
        waiting = asyncio.ensure_future(store.durable())
        await asyncio.sleep(0)  # it asks
        await asyncio.sleep(0)  # it is committed
        behind = add(store, "behind")  # committed while the sync is about to fail: behind the gap
        waiting_behind = asyncio.ensure_future(store.durable())
        await asyncio.sleep(0)
        store.flush()
        release.set()
        results = await asyncio.gather(waiting, waiting_behind, return_exceptions=True)
        assert ["Input/output error" in str(result) for result in results] == [True, True]
        for job in (lost, behind):
            store.withdraw_job(job.id)
        store.flush()
        assert [job.id for job in store.open_jobs()] == [kept.id]
        assert not store._log_is_doubtful

    asyncio.run(submit())
    database = Path(store.path).read_bytes()
    assert b"kept" in database  # moved there by the checkpoint, away from the log's gap


def test_what_is_to_follow_a_commit_waits_for_one_that_succeeds(store: JobStore) -> None:
    done: list[str] = []

    async def change() -> None:
        record = add(store, "j")
        await store.durable()
        store._connection.execute("PRAGMA query_only=ON")
        store.save_job(record)
        store.after_commit(lambda: done.append("done"))
        store.flush()
        assert done == []
        store._connection.execute("PRAGMA query_only=OFF")
        store.flush()
        assert done == ["done"]

    asyncio.run(change())


def test_what_could_not_be_written_is_written_later(store: JobStore) -> None:
    async def change() -> None:
        record = add(store, "j")
        await store.durable()
        store._connection.execute("PRAGMA query_only=ON")
        record.sub_state = SubState.RUNNING
        store.save_job(record)
        store.flush()
        store._connection.execute("PRAGMA query_only=OFF")
        store.flush()

    asyncio.run(change())
    found = store.job("alice", "j")
    assert found is not None
    assert found.sub_state is SubState.RUNNING
