# SPDX-License-Identifier: MIT
"""Carries out what ``machine.step`` decides: rows in the store, processes by the executor, and who must be
told.

A decision is stored in the same turn of the loop in which it is carried out.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import random
import time
from collections.abc import Callable, Sequence

from openpaisdk.errors import OpenPaiError, SpecError
from openpaisdk.local.home import LocalHome, TaskFiles
from openpaisdk.local.jobs.admission import Pool, Request
from openpaisdk.local.jobs.allocation import Allocator, Victim
from openpaisdk.local.jobs.executors.process import ProcessExecutor, write_private
from openpaisdk.local.jobs.launch import Launcher
from openpaisdk.local.jobs.live import LiveJob, RunningTask
from openpaisdk.local.jobs.logs import TaskLog
from openpaisdk.local.jobs.machine import (
    Action,
    Admitted,
    BeginAttempt,
    CompleteAttempt,
    CompleteJob,
    CompleteTask,
    EndAttempt,
    Ending,
    Event,
    KillTask,
    Phase,
    Preempted,
    RetryJob,
    RetryTask,
    StartTask,
    StopRequested,
    TaskEnded,
    TaskKey,
    step,
)
from openpaisdk.local.jobs.outcomes import (
    ended_outcome,
    excess_message,
    memory_outcome,
    outcome_of,
    termination_message,
)
from openpaisdk.local.jobs.outputs import has_entries, has_outputs, store_outputs
from openpaisdk.local.jobs.store import JobStore
from openpaisdk.local.jobs.waiting import WaitingJobs
from openpaisdk.local.jobs.watch import open_file_watcher
from openpaisdk.local.records import (
    COMPLETION_CODE,
    PREEMPTED_CODE,
    AttemptRecord,
    EventRecord,
    JobRecord,
    Machine,
    Outcome,
    SubState,
    TaskRecord,
)
from openpaisdk.local.removal import delete_tree
from openpaisdk.spec.ports import task_ports

WAIT_WORTH_TELLING_S = 1.0
"""A job that waited longer for resources has an event that says why."""
_log = logging.getLogger("openpaisdk.local")
GRACE_S = 10.0
"""How long the processes of a stopped task have between SIGTERM and SIGKILL."""
IMAGE_NOTE = "is not used: the embedded cluster runs tasks as processes of this machine"
SHM_NOTE = "is not held: /dev/shm is the machine's own, and what is in it counts as memory of the task"
_PORT_CONFLICT_CODE = 253
_START_FAILED_CODE = -310
_PASSING_ERRORS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EMFILE,
    errno.ENFILE,
    errno.EAGAIN,
    errno.ENOMEM,
)
_SHORT_OF_CODE = -120
_SHORT_OF_S = 5.0
"""A task that finds the machine short of disk, processes or memory keeps its place so long, then its
attempt is over with a transient code: accepted jobs outlast a full disk.
"""
_PLUGIN_FAILED_CODE = 1
"""What any other failure of a real cluster's init container comes to (runtime-environment §4)."""


class Lifecycle:
    """The jobs that are not over, and their ways through queue, attempts and tasks.

    Args:
        home: Where the tasks' folders are.
        store: What outlives the server.
        executor: Runs the tasks.
        machine: What there is to give to them.
        launcher: Prepares them.
        wake: Called with a job's id when something about it has changed.
        admit_soon: Called when jobs wait that may be admitted now.
    """

    def __init__(
        self,
        home: LocalHome,
        store: JobStore,
        executor: ProcessExecutor,
        machine: Machine,
        launcher: Launcher,
        *,
        wake: Callable[[int], None],
        admit_soon: Callable[[], None],
    ) -> None:
        self.live: dict[int, LiveJob] = {}
        self.waiting = WaitingJobs()
        """Jobs with tasks that wait for resources."""
        self.running: dict[str, RunningTask] = {}
        self.pool = Pool(machine)
        self.allocator = Allocator(
            self.pool, self.waiting, self.running.values, admit=self._admit, preempt=self._preempt
        )
        self.issue_token: Callable[[str, str, Sequence[str]], str] = _no_token
        self.restore_token: Callable[[str], None] = _nothing
        self.revoke_token: Callable[[str], None] = _nothing
        self._home = home
        self._store = store
        self._executor = executor
        self._executor.on_exit = self.task_process_ended
        self._launcher = launcher
        self._wake = wake
        self._admit_soon = admit_soon
        self._finishing: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._file_watcher = open_file_watcher(self._loop)

    async def close(self, mode: str) -> None:
        """Stop; ``kill`` stops the jobs that have running tasks first, anything else lets the tasks run."""
        for live in self.live.values():
            if live.timer is not None:
                live.timer.cancel()
        if mode == "kill":
            for live in {id(task.live): task.live for task in self.running.values()}.values():
                self.request_stop(live)
            while self.running:
                self._idle.clear()
                await self._idle.wait()
        if self._finishing:
            await asyncio.wait(self._finishing)
        self._file_watcher.close()
        self._executor.close()

    def request_stop(self, live: LiveJob) -> None:
        """Let the user's wish to stop a job take its course."""
        if not live.record.stop_requested:
            live.record.stop_requested = True
            self._store.save_job(live.record)
            self.event(live, "Normal", "StopRequested", "The user asked to stop the job")
            self.apply(live, StopRequested())

    def apply(self, live: LiveJob, event: Event) -> None:
        """Let something happen to a job, and do what follows from it."""
        live.status, actions = step(live.status, event)
        starts = [action for action in actions if isinstance(action, StartTask)]
        for action in actions:
            if not isinstance(action, StartTask):
                self._carry_out(live, action)
        self._start_tasks(live, [live.tasks[start.key] for start in starts])
        self._wake(live.record.id)

    def _carry_out(self, live: LiveJob, action: Action) -> None:
        if isinstance(action, BeginAttempt):
            self.begin_attempt(live, action.attempt_id)
        elif isinstance(action, RetryTask):
            self._retry_task(live, action)
        elif isinstance(action, KillTask):
            self.kill(live.tasks[action.key], ended_outcome(action.exit_code))
        elif isinstance(action, CompleteTask):
            self._complete_task(live, action)
        elif isinstance(action, EndAttempt):
            self._end_attempt(live, action.ending)
        elif isinstance(action, CompleteAttempt):
            self._complete_attempt(live, action.ending)
        elif isinstance(action, RetryJob):
            self._retry_job(live, action)
        elif isinstance(action, CompleteJob):
            self._complete_job(live, action.ending)

    # --- an attempt begins ---------------------------------------------------------------------
    def begin_attempt(self, live: LiveJob, attempt_id: int) -> None:
        """Make the rows of a new attempt of the job and of all its tasks."""
        record = live.record
        now = moment_after(record.submitted_ms)
        live.attempt = AttemptRecord(
            job_id=record.id,
            attempt_id=attempt_id,
            uid=self._launcher.uid(record.id, attempt_id),
            sub_state=SubState.PREPARING,
            created_ms=now,
        )
        live.tasks = {}
        record.attempt_id = attempt_id
        record.sub_state = SubState.PREPARING
        record.created_ms = record.created_ms or now
        record.retry_at_ms = None
        record.outcome = None
        for key in live.status.tasks:
            self.new_task(live, key)
        self._store.save_attempt(live.attempt)
        self._store.save_job(record)

    def new_task(
        self, live: LiveJob, key: TaskKey, attempt_id: int = 0, counted_retries: int = 0
    ) -> TaskRecord:
        """Make the row of a task attempt that waits."""
        job_attempt_id = live.status.attempt_id or 0
        task = TaskRecord(
            job_id=live.record.id,
            job_attempt_id=job_attempt_id,
            role=key[0],
            index=key[1],
            attempt_id=attempt_id,
            counted_retries=counted_retries,
            pod_uid=self._launcher.pod_uid(live.record, job_attempt_id, key, attempt_id),
            sub_state=SubState.CREATION_PENDING,
            created_ms=moment_after(live.record.submitted_ms),
        )
        live.tasks[key] = task
        self._store.save_task(task)
        return task

    def _start_tasks(self, live: LiveJob, tasks: Sequence[TaskRecord]) -> None:
        """Start tasks of one job, which may know of each other's addresses."""
        for task in tasks:
            resources = live.role(task.key).resources
            task.gpus = self.pool.take(live.share, Request.of(resources))
            task.ports = task_ports(
                task.pod_uid, {label: max(0, count) for label, count in resources.ports.items()}
            )
            if task.gpus:
                self._store.save_task(task)
        if any(task.gpus for task in tasks):
            self._store.flush()  # which devices a task has cannot be computed again after a crash
        for task in tasks:
            self._start_task(live, task)

    def _start_task(self, live: LiveJob, task: TaskRecord) -> None:
        taken = (
            number for one in self.running.values() for ports in one.record.ports.values() for number in ports
        )
        conflict = self._launcher.port_conflict(task, taken)
        if conflict is not None:
            self._fail_start(live, task, _PORT_CONFLICT_CODE, f"port {conflict} is in use")
            return
        files = self._home.task(task.pod_uid)
        token = ""
        try:
            self._executor.make_folder(task.pod_uid)
            token = self.issue_token(live.record.user, self._launcher.job_folder(live), live.archives)
            self._note_start(live, task, files)
            task.pid = self._executor.start(self._launcher.launch(live, task, files, token))
        except SpecError as exc:
            self._forget_access(live, files, token)
            self._fail_start(live, task, _PLUGIN_FAILED_CODE, str(exc))
            return
        except (OSError, OpenPaiError) as exc:
            self._forget_access(live, files, token)
            reason = f"the task could not be started: {exc}"
            if getattr(exc, "errno", None) in _PASSING_ERRORS:
                self._loop.call_later(_SHORT_OF_S, self._fail_start, live, task, _SHORT_OF_CODE, reason)
            else:
                self._fail_start(live, task, _START_FAILED_CODE, reason)
            return
        task.launched_ms = moment_after(task.created_ms)
        task.sub_state = SubState.RUNNING
        self._store.save_task(task)
        self.mark_running(live, task.launched_ms)
        self.track(live, task, token)

    def _note_start(self, live: LiveJob, task: TaskRecord, files: TaskFiles) -> None:
        role = live.role(task.key)
        lines = [f"image {role.docker_image_uri!r} {IMAGE_NOTE}"]
        if role.resources.declared_shm_mb > 0:
            lines.append(f"shmMB {role.resources.declared_shm_mb} {SHM_NOTE}")
        note(files, *lines)
        ports = ", ".join(f"{label} {number}" for label, numbers in task.ports.items() for number in numbers)
        note(files, f"ports are free: {ports}", *lines, path=files.init_log)

    def mark_running(self, live: LiveJob, now: int) -> None:
        """Note that a task of the job runs."""
        attempt = live.attempt
        if attempt is not None and attempt.launched_ms is None:
            attempt.launched_ms = now
            attempt.sub_state = SubState.RUNNING
            self._store.save_attempt(attempt)
        if live.record.sub_state is SubState.PREPARING:
            live.record.sub_state = SubState.RUNNING
            live.record.launched_ms = live.record.launched_ms or now
            self._store.save_job(live.record)

    def track(self, live: LiveJob, task: TaskRecord, token: str, *, watch: bool = True) -> RunningTask:
        """Keep an eye on a task that runs (or, with no ``watch``, has just ended)."""
        files = self._home.task(task.pod_uid)
        log = TaskLog(files, running=True)
        if watch:
            log.watch_with(self._file_watcher.watch)
        running = RunningTask(live, task, Request.of(live.role(task.key).resources), files, log, token)
        self.running[task.pod_uid] = running
        return running

    def _fail_start(self, live: LiveJob, task: TaskRecord, code: int, reason: str) -> None:
        if live.secrets:
            remove_scripts(self._home.task(task.pod_uid))
        self.pool.give_back(live.share, Request.of(live.role(task.key).resources), task.gpus)
        self.event(live, "Warning", "FailedStart", reason, task)
        task.outcome = Outcome(exit_code=code, diagnostics=reason)
        self._loop.call_soon(self.apply, live, TaskEnded(task.key, code))

    def kill(self, task: TaskRecord, outcome: Outcome | None = None) -> None:
        """End a running task; it ends so, by default with its job's attempt, whatever its command does."""
        task.sub_state = SubState.DELETION_PENDING
        self._store.save_task(task)
        running = self.running.get(task.pod_uid)
        if running is not None:
            running.ended_by = running.ended_by or outcome or ended_outcome(COMPLETION_CODE)
            self._executor.kill(task.pod_uid, grace_s=GRACE_S)

    # --- a task ends ---------------------------------------------------------------------------
    def task_process_ended(self, pod_uid: str, code: int | None) -> None:
        """Take note that a task's processes are gone; ``code`` is its command's, ``None`` when nobody
        knows.
        """
        running = self.running[pod_uid]
        running.log.finish()
        excess = self._executor.excess(pod_uid)
        if excess is not None and running.ended_by is None:
            running.ended_by = memory_outcome(excess)
            note(running.files, f"[ERROR] OOMKilled: {excess_message(excess)}")
            self.event(running.live, "Warning", "OOMKilled", excess_message(excess), running.record)
        names = running.live.output_names
        wanted = has_outputs(running.files.output, names)
        if wanted or has_entries(running.files.work):
            task = self._loop.create_task(self._store_outputs(running, code, names if wanted else None))
            self._finishing.add(task)
            task.add_done_callback(self._finishing.discard)
            return
        self._task_over(running, code)

    async def _store_outputs(
        self, running: RunningTask, code: int | None, names: Sequence[str] | None
    ) -> None:
        files = running.files
        target = self._launcher.output_folder(running.live, running.record)
        complaints: list[str] = []
        is_kept = False
        if names is not None:
            try:
                complaints = await asyncio.to_thread(_store_once, files, names, target)
            except (OSError, RecursionError) as exc:  # a tree may be deeper than Python makes one
                is_kept = True
                complaints = [f"outputs could not be stored, they stay in {files.folder}: {exc}"]
        for complaint in complaints:
            note(files, complaint)
            self.event(running.live, "Warning", "OutputNotStored", complaint, running.record)
        for folder in () if is_kept else (files.work, files.output):  # what was to be kept is on storage now
            await asyncio.to_thread(delete_tree, folder)
        self._task_over(running, code)

    def _task_over(self, running: RunningTask, user_code: int | None) -> None:
        live, task = running.live, running.record
        del self.running[task.pod_uid]
        self._idle.set()
        self.pool.give_back(live.share, running.request, task.gpus)
        self._forget_access(live, running.files, running.token)
        task.outcome = running.ended_by or outcome_of(user_code, running.log)
        if task.outcome.runtime is not None:
            with contextlib.suppress(OSError):
                write_private(running.files.termination_log, termination_message(task.outcome.runtime))
        self.apply(live, TaskEnded(task.key, task.outcome.exit_code))
        self._admit_soon()

    def _forget_access(self, live: LiveJob, files: TaskFiles, token: str) -> None:
        """End what a task attempt could do and remove what it could know."""
        self.revoke_token(token)
        if token:
            # Emptied, not removed: for minutes ext4 steps over every freed inode when it looks for a new one.
            with contextlib.suppress(OSError):  # the task may have removed it itself
                os.truncate(files.token, 0)
        if live.secrets:
            remove_scripts(files)

    def _complete_task(self, live: LiveJob, action: CompleteTask) -> None:
        task = live.tasks[action.key]
        task.sub_state = SubState.COMPLETED
        task.completed_ms = moment_after(task.launched_ms, task.created_ms)
        task.outcome = task.outcome or ended_outcome(COMPLETION_CODE)
        self._store.save_task(task)

    def _retry_task(self, live: LiveJob, action: RetryTask) -> None:
        task = live.tasks[action.key]
        task.sub_state = SubState.COMPLETED
        task.completed_ms = moment_after(task.launched_ms, task.created_ms)
        self._store.save_task(task)
        code = task.outcome.exit_code if task.outcome else None
        self.event(
            live, "Warning", "TaskRetried", f"The task ended with code {code} and is tried again", task
        )
        status = live.status.tasks[action.key]
        self.new_task(live, action.key, status.attempt_id, status.counted_retries)
        self._enqueue(live)

    # --- an attempt, a job ends ----------------------------------------------------------------
    def _end_attempt(self, live: LiveJob, ending: Ending) -> None:
        outcome = self._job_outcome(live, ending)
        self.waiting.discard(live)
        live.record.outcome = outcome
        live.record.sub_state = SubState.DELETION_PENDING
        self._store.save_job(live.record)
        if live.attempt is not None:
            live.attempt.outcome = outcome
            live.attempt.sub_state = SubState.DELETION_PENDING
            self._store.save_attempt(live.attempt)

    def _job_outcome(self, live: LiveJob, ending: Ending) -> Outcome:
        outcome = Outcome(exit_code=ending.exit_code, diagnostics=ending.message)
        if ending.role is None or ending.index is None:
            return outcome
        outcome.trigger_message = ending.message
        outcome.trigger_role = ending.role
        outcome.trigger_index = ending.index
        cause = live.tasks[ending.role, ending.index].outcome
        if ending.exit_code == 0:
            outcome.user_exit_code = 0
        elif cause is not None:
            outcome.diagnostics = cause.diagnostics
            outcome.user_exit_code = cause.user_exit_code
            outcome.runtime = cause.runtime
        return outcome

    def _complete_attempt(self, live: LiveJob, ending: Ending) -> None:
        attempt = live.attempt
        if attempt is not None:
            attempt.sub_state = SubState.COMPLETED
            attempt.completed_ms = moment_after(attempt.launched_ms, attempt.created_ms)
            attempt.launched_ms = attempt.launched_ms or attempt.completed_ms
            attempt.outcome = attempt.outcome or self._job_outcome(live, ending)
            self._store.save_attempt(attempt)

    def _retry_job(self, live: LiveJob, action: RetryJob) -> None:
        record = live.record
        record.counted_retries = live.status.counted_retries
        record.sub_state = SubState.ATTEMPT_COMPLETED
        code = record.outcome.exit_code if record.outcome else None
        delay_s = random.uniform(*action.delay_s)
        record.retry_at_ms = now_ms() + int(delay_s * 1000)
        self.event(
            live,
            "Warning",
            "JobRetried",
            f"The attempt ended with code {code} and the job is tried again in {delay_s:.0f} s",
        )
        self._store.save_job(record)
        self.queue_after(live, delay_s)

    def queue_after(self, live: LiveJob, delay_s: float) -> None:
        """Let a job wait for resources, once this time has passed."""
        if delay_s <= 0:
            self._enqueue(live)
        else:
            live.timer = self._loop.call_later(delay_s, self._enqueue, live)

    def _enqueue(self, live: LiveJob) -> None:
        live.timer = None
        if live.status.phase in (Phase.QUEUED, Phase.RUNNING):
            self.wait(live)

    def wait(self, live: LiveJob) -> None:
        """Let a job wait for resources: behind all others, but for one that had to make room."""
        outcome = live.record.outcome
        had_to_make_room = outcome is not None and outcome.exit_code == PREEMPTED_CODE
        live.queued_ms, live.queued_at_s = now_ms(), self._loop.time()
        live.blocked_by = ""
        self.waiting.add(live, keep_place=had_to_make_room)
        self._admit_soon()

    def _admit(self, live: LiveJob, keys: Sequence[TaskKey]) -> None:
        waited_s = self._loop.time() - live.queued_at_s
        if waited_s >= WAIT_WORTH_TELLING_S and live.blocked_by:
            self.event(live, "Normal", "Waited", f"Waited {waited_s:.0f} s: {live.blocked_by}")
        self.apply(live, Admitted(tuple(keys)))
        if not live.status.waiting_tasks():
            self.waiting.discard(live)

    def _preempt(self, victim: Victim, winner: LiveJob) -> None:
        reason = f"Preempted to make room for {winner.record.framework}"
        if victim.live.spec.gang_allocation:
            self.event(victim.live, "Warning", "Preempted", reason)
            self.apply(victim.live, Preempted())
            return
        for task in victim.tasks:
            self.event(victim.live, "Warning", "Preempted", reason, task.record)
            self.kill(task.record, ended_outcome(PREEMPTED_CODE))

    def _complete_job(self, live: LiveJob, ending: Ending) -> None:
        record = live.record
        if live.timer is not None:
            live.timer.cancel()
        if record.outcome is None or record.outcome.exit_code != ending.exit_code:
            record.outcome = self._job_outcome(live, ending)
        record.sub_state = SubState.COMPLETED
        record.completed_ms = moment_after(record.launched_ms, record.created_ms, record.submitted_ms)
        record.launched_ms = record.launched_ms or record.completed_ms
        record.created_ms = record.created_ms or record.completed_ms
        record.retry_at_ms = None
        self._store.save_job(record)
        self.waiting.discard(live)
        self.live.pop(record.id, None)
        if live.secrets:
            self._store.after_commit(lambda: self.forget_secrets(record))

    def forget_secrets(self, job: JobRecord) -> None:
        """Remove the clear text of a job's secrets from the disk."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._home.secrets_file(job.id))

    def event(
        self, live: LiveJob, type_: str, reason: str, message: str, task: TaskRecord | None = None
    ) -> None:
        """Add to what users can read of a job's course."""
        self._store.add_event(
            EventRecord(
                job_id=live.record.id,
                at_ms=now_ms(),
                type=type_,
                reason=reason,
                message=message,
                role=task.role if task else None,
                index=task.index if task else None,
                pod_uid=task.pod_uid if task else None,
            )
        )


def _store_once(files: TaskFiles, names: Sequence[str], target: str) -> list[str]:
    """Store outputs, unless an earlier server has: killed since, it may have begun to remove them here."""
    if os.path.exists(files.outputs_stored):
        return []
    complaints = store_outputs(files.work, files.output, names, target)
    with open(files.outputs_stored, "wb"):
        return complaints


def remove_scripts(files: TaskFiles) -> None:
    """Remove a task's scripts, which hold secrets; what happens to them must not hold up the task's end."""
    try:
        for path in files.scripts():
            os.unlink(path)
    except FileNotFoundError:  # the folder was never made, or somebody has removed it
        return
    except OSError as exc:
        _log.error("scripts with secrets are left in %s: %s", files.folder, exc.strerror)


def note(files: TaskFiles, *lines: str, path: str | None = None) -> None:
    """Add lines of the platform's to a task's runtime log, or to another of its files, in their usual form
    (runtime-environment §5).
    """
    moment = time.strftime("%Y/%m/%d %H:%M:%S")
    with contextlib.suppress(OSError), open(path or files.runtime_log, "a", encoding="utf-8") as file:
        file.writelines(f"[{moment}] [openpai-runtime] {line}\n" for line in lines)


def now_ms() -> int:
    """Return this moment as the REST API writes moments."""
    return int(time.time() * 1000)


def moment_after(*earlier_ms: int | None) -> int:
    """Return this moment, or the latest of those that came before it: a clock that is set back must not let
    something end before it began.
    """
    return max([now_ms(), *(moment for moment in earlier_ms if moment is not None)])


def _no_token(_user: str, _path: str, _files: Sequence[str]) -> str:
    return ""


def _nothing(_token: str) -> None:
    return None
