# SPDX-License-Identifier: MIT
"""Takes up the jobs of an earlier server, from their rows and from the traces that their tasks left.

Which process belongs to which task attempt follows from numbers alone (the pod uid is derived from job,
attempt and task), so it is found out even when the server died between starting a process and storing that.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import replace

from openpaisdk.local.home import LocalHome
from openpaisdk.local.jobs.admission import Request
from openpaisdk.local.jobs.executors.process import ProcessExecutor, Trace
from openpaisdk.local.jobs.launch import Launcher
from openpaisdk.local.jobs.lifecycle import Lifecycle, now_ms
from openpaisdk.local.jobs.live import LiveJob, load_secrets, policy_of, stored_ending, with_unique_roles
from openpaisdk.local.jobs.machine import (
    CONFLICT_DELAY_S,
    JobStatus,
    Phase,
    StopRequested,
    TaskKey,
    TaskStatus,
)
from openpaisdk.local.jobs.outcomes import ended_outcome
from openpaisdk.local.jobs.store import JobStore
from openpaisdk.local.records import COMPLETION_CODE, JobRecord, SubState, TaskRecord
from openpaisdk.spec.codec import job_spec_from_document
from openpaisdk.spec.ports import task_ports


class Recovery:
    """Goes on where an earlier server stopped or was stopped.

    Args:
        home: Where secrets and the tasks' folders are.
        store: Rows of the earlier server.
        executor: Knows the traces of tasks.
        launcher: Knows the identities of tasks.
        lifecycle: Has the jobs from now on.
    """

    def __init__(
        self,
        home: LocalHome,
        store: JobStore,
        executor: ProcessExecutor,
        launcher: Launcher,
        lifecycle: Lifecycle,
    ) -> None:
        self._home = home
        self._store = store
        self._executor = executor
        self._launcher = launcher
        self._lifecycle = lifecycle

    def take_up_all(self) -> None:
        """Take up every job that is not over, oldest first."""
        for record in self._store.open_jobs():
            self._take_up(record)
        self._executor.sweep()
        self._remove_stale_secrets()

    def _remove_stale_secrets(self) -> None:
        """Remove the secrets of jobs that are over, or that never came to be, as a crash may leave them."""
        jobs = [number for number, live in self._lifecycle.live.items() if live.secrets]
        wanted = {os.path.basename(self._home.secrets_file(number)) for number in jobs}
        for name in set(os.listdir(self._home.secrets)) - wanted:
            os.unlink(os.path.join(self._home.secrets, name))

    def _take_up(self, record: JobRecord) -> None:
        document = self._store.document(record.id)
        secrets = load_secrets(self._home.secrets_file(record.id)) if "secrets" in document else {}
        spec = with_unique_roles(job_spec_from_document({**document, "secrets": secrets}))
        live = LiveJob(record, spec, secrets, JobStatus(policy=policy_of(spec)))
        self._lifecycle.live[record.id] = live
        attempts = self._store.attempts(record.id)
        last = attempts[-1] if attempts else None
        live.status = replace(
            live.status,
            attempt_id=last.attempt_id if last else None,
            counted_retries=record.counted_retries,
            stop_requested=record.stop_requested,
        )
        if last is not None and last.sub_state is not SubState.COMPLETED:
            live.attempt = last
            self._take_up_tasks(live, self._store.tasks(record.id, last.attempt_id))
        elif self._take_up_unrecorded(live):
            pass
        elif record.stop_requested:
            self._lifecycle.apply(live, StopRequested())
        else:
            # The clock may have been set back meanwhile, so no job waits longer than any retry does.
            delay_s = min(((record.retry_at_ms or 0) - now_ms()) / 1000, CONFLICT_DELAY_S[1])
            self._lifecycle.queue_after(live, max(0.0, delay_s))

    def _take_up_unrecorded(self, live: LiveJob) -> bool:
        """Go on with an attempt whose tasks were started in the very turn in which the server died."""
        attempt_id = 0 if live.status.attempt_id is None else live.status.attempt_id + 1
        keys = live.status.policy.task_keys()
        traces = [
            self._executor.trace(self._launcher.pod_uid(live.record, attempt_id, key, 0)) for key in keys
        ]
        if all(trace is Trace.NEVER_STARTED for trace in traces):
            return False
        tasks = {key: TaskStatus() for key in keys}
        live.status = replace(live.status, phase=Phase.RUNNING, attempt_id=attempt_id, tasks=tasks)
        self._lifecycle.begin_attempt(live, attempt_id)
        self._take_up_tasks(live, list(live.tasks.values()))
        return True

    def _take_up_tasks(self, live: LiveJob, tasks: Sequence[TaskRecord]) -> None:
        """Rebuild the state of an attempt; ``tasks`` may hold several attempts of a task, in order."""
        live.tasks = {task.key: task for task in tasks}
        ending = stored_ending(live)
        statuses: dict[TaskKey, TaskStatus] = {}
        over: list[tuple[TaskRecord, Trace]] = []
        for key in live.status.policy.task_keys():
            task = live.tasks.get(key) or self._lifecycle.new_task(live, key)
            status = TaskStatus(attempt_id=task.attempt_id, counted_retries=task.counted_retries)
            if task.sub_state is SubState.COMPLETED and task.outcome is not None:
                statuses[key] = replace(status, phase=Phase.DONE, exit_code=task.outcome.exit_code)
                continue
            trace = self._executor.trace(task.pod_uid)
            if trace is Trace.NEVER_STARTED and task.sub_state is SubState.RUNNING:
                trace = Trace.LOST  # it was started; the machine went before its notes were on the disk
            if trace is Trace.NEVER_STARTED and ending is None:
                statuses[key] = status
                continue
            statuses[key] = replace(status, phase=Phase.ENDING if ending else Phase.RUNNING)
            if trace is Trace.RUNNING:
                self._adopt(live, task, kill=ending is not None)
            else:
                over.append((task, trace))
        phase = Phase.ENDING if ending else Phase.RUNNING
        live.status = replace(live.status, phase=phase, tasks=statuses, ending=ending)
        if any(task.launched_ms for task in live.tasks.values()):
            self._lifecycle.mark_running(live, now_ms())
        if live.status.waiting_tasks():
            self._lifecycle.queue_after(live, 0)
        for task, trace in over:
            self._deliver_missed_end(live, task, trace)
        if live.record.stop_requested and ending is None:
            self._lifecycle.apply(live, StopRequested())

    def _adopt(self, live: LiveJob, task: TaskRecord, *, kill: bool) -> None:
        resources = live.role(task.key).resources
        task.ports = task.ports or task_ports(task.pod_uid, resources.ports)
        task.launched_ms = task.launched_ms or now_ms()
        task.sub_state = SubState.RUNNING
        self._lifecycle.pool.take_again(live.share, Request.of(resources), task.gpus)
        token = _read_token(self._home.task(task.pod_uid).token)
        self._lifecycle.restore_token(token)
        self._lifecycle.track(live, task, token)
        task.pid = self._executor.adopt(task.pod_uid, memory_mb=resources.memory_mb)
        self._store.save_task(task)
        if kill:
            self._lifecycle.kill(task)

    def _deliver_missed_end(self, live: LiveJob, task: TaskRecord, trace: Trace) -> None:
        """Deliver the end of a task that ended while no server was there to see it."""
        task.launched_ms = task.launched_ms or now_ms()
        self._lifecycle.pool.take_again(live.share, Request.of(live.role(task.key).resources), task.gpus)
        token = _read_token(self._home.task(task.pod_uid).token)
        running = self._lifecycle.track(live, task, token, watch=False)
        running.ended_by = ended_outcome(COMPLETION_CODE) if live.status.phase is Phase.ENDING else None
        code = self._executor.exit_code(task.pod_uid) if trace is Trace.ENDED else None
        asyncio.get_running_loop().call_soon(self._lifecycle.task_process_ended, task.pod_uid, code)


def _read_token(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except FileNotFoundError:
        return ""
