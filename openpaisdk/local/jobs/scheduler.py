# SPDX-License-Identifier: MIT
"""The embedded cluster's jobs, from submission to the end: what the HTTP side calls, all on the
event-loop thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import uuid
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any

from openpaisdk.errors import JobNotFoundError, OpenPaiError
from openpaisdk.local.home import LocalHome
from openpaisdk.local.jobs.admission import NOTHING, Request, refusal
from openpaisdk.local.jobs.executors.process import ProcessExecutor
from openpaisdk.local.jobs.history import job_history
from openpaisdk.local.jobs.launch import Launcher
from openpaisdk.local.jobs.lifecycle import IMAGE_NOTE, Lifecycle, now_ms
from openpaisdk.local.jobs.live import (
    LiveJob,
    masked,
    policy_of,
    save_secrets,
    with_unique_roles,
    without_secrets,
)
from openpaisdk.local.jobs.logs import TaskLog
from openpaisdk.local.jobs.machine import JobStatus
from openpaisdk.local.jobs.recovery import Recovery
from openpaisdk.local.jobs.store import JobStore
from openpaisdk.local.records import (
    AttemptRecord,
    EventRecord,
    JobQuery,
    JobRecord,
    JobRow,
    Machine,
    SubState,
    TaskRecord,
)
from openpaisdk.spec.codec import job_spec_from_document
from openpaisdk.spec.model import JobSpec
from openpaisdk.spec.plugins import role_plugins


class TooLargeError(OpenPaiError):
    """A job asks for more than this machine can ever give."""


class Scheduler:
    """Owns all jobs of the embedded cluster.

    Args:
        home: Where everything is kept.
        store: What outlives the server.
        executor: Runs the tasks.
        machine: What there is to give to them.
        pass_env: Names of the server's variables that tasks see beside the allow-list.
    """

    def __init__(
        self,
        home: LocalHome,
        store: JobStore,
        executor: ProcessExecutor,
        machine: Machine,
        *,
        pass_env: Iterable[str] = (),
    ) -> None:
        self.home = home
        self.store = store
        self.machine = machine
        cluster_uid = uuid.UUID(store.fact("cluster_uid", str(uuid.uuid4())))
        self._launcher = Launcher(home, machine, cluster_uid, pass_env)
        self._lifecycle = Lifecycle(
            home,
            store,
            executor,
            machine,
            self._launcher,
            wake=self._wake,
            admit_soon=self._admit_soon,
        )
        self._recovery = Recovery(home, store, executor, self._launcher, self._lifecycle)
        self._watches: dict[int, set[asyncio.Event]] = {}
        self._admission_scheduled = False
        self._closed = False
        self._loop = asyncio.get_running_loop()

    # --- life ----------------------------------------------------------------------------------
    @property
    def uri(self) -> str:
        """Where the server is reached; tasks are told."""
        return self._launcher.uri

    @uri.setter
    def uri(self, uri: str) -> None:
        self._launcher.uri = uri

    def use_tokens(
        self,
        *,
        issue: Callable[[str, str, Sequence[str]], str],
        restore: Callable[[str], None],
        revoke: Callable[[str], None],
    ) -> None:
        """Let tasks have tokens: ``issue(user, path, files)`` gives one for the storage below a path, and for
        reading files elsewhere; ``restore`` makes one of an earlier server good again, ``revoke`` ends it.
        """
        self._lifecycle.issue_token = issue
        self._lifecycle.restore_token = restore
        self._lifecycle.revoke_token = revoke

    async def start(self) -> None:
        """Take up the jobs and tasks of an earlier server, then run what waits."""
        self._recovery.take_up_all()
        self._admit_soon()

    async def close(self, mode: str) -> None:
        """Stop: ``leave`` lets running tasks run until the next start takes them up, ``kill`` ends them
        first.

        Tasks that are ended so count as lost with the machine: their jobs are tried again at the next start.
        """
        self._closed = True
        await self._lifecycle.close(mode)
        self.store.close()

    @property
    def running_tasks(self) -> int:
        """How many tasks run now."""
        return len(self._lifecycle.running)

    # --- submit and stop -----------------------------------------------------------------------
    async def submit(self, user: str, spec: JobSpec) -> JobRecord:
        """Accept a job; it is on the disk when this returns.

        Raises:
            JobExistsError: The user has a job of this name already.
            TooLargeError: It asks for more than the machine has.
            LocalClusterError: It cannot be stored; nothing of it remains.
        """
        reason = refusal(spec, self.machine)
        if reason is not None:
            raise TooLargeError(
                reason, hint="ask for less, or run: opai local start --cpu N --gpu N --mem SIZE"
            )
        spec = with_unique_roles(spec)
        record = JobRecord(
            id=self.store.next_id(),
            user=user,
            name=spec.name,
            sub_state=SubState.CREATION_PENDING,
            virtual_cluster=spec.virtual_cluster,
            priority=spec.priority,
            submitted_ms=now_ms() // 1000 * 1000,  # whole seconds, as the real server's
            total_gpu=spec.total_gpus,
            total_tasks=spec.total_tasks,
            total_roles=len(spec.task_roles),
        )
        live = LiveJob(record, spec, spec.secrets, JobStatus(policy=policy_of(spec)))
        try:
            if spec.secrets:
                await asyncio.to_thread(save_secrets, self.home.secrets_file(record.id), spec.secrets)
            self.store.insert_job(record, masked(spec.document))
            self._lifecycle.live[record.id] = live  # from here on it can be stopped
            await self.store.durable()
        except Exception:
            if self._lifecycle.live.pop(record.id, None) is not None:
                self.store.withdraw_job(record.id)
            self._lifecycle.forget_secrets(record)
            raise
        if record.id in self._lifecycle.live:
            self._lifecycle.wait(live)
        return record

    def stop(self, job: JobRecord) -> None:
        """Ask a job to stop; nothing happens to one that is over (runtime-environment §9)."""
        live = self._lifecycle.live.get(job.id)
        if live is not None:
            self._lifecycle.request_stop(live)
        elif not job.stop_requested:
            job.stop_requested = True
            self.store.save_job(job)
        self.store.flush()  # its sender is told now: a server that is killed then must not forget it

    # --- look ----------------------------------------------------------------------------------
    def job(self, user: str, name: str) -> JobRecord | None:
        """Return a job, or ``None``."""
        return self.store.job(user, name)

    def page(self, query: JobQuery, reader: str) -> tuple[list[JobRow], int | None]:
        """Return a page of jobs, and how many there are in all when the query asks for it; a page goes on
        where the ``reader``'s page before it ended.
        """
        return self.store.page(query, reader)

    def jobs(self, query: JobQuery) -> list[JobRecord]:
        """Return the jobs of a query."""
        return self.store.jobs(query)

    def attempt(self, job: JobRecord, attempt_id: int) -> AttemptRecord | None:
        """Return one attempt of a job, or ``None``."""
        return next((one for one in self.attempts(job) if one.attempt_id == attempt_id), None)

    def attempts(self, job: JobRecord) -> list[AttemptRecord]:
        """Return the attempts of a job in order."""
        return self.store.attempts(job.id)

    def tasks(self, job: JobRecord, attempt_id: int) -> list[TaskRecord]:
        """Return the newest attempt of every task of a job attempt, in the order of the document."""
        newest = {task.key: task for task in self.store.tasks(job.id, attempt_id)}
        roles = self._spec(job).task_roles
        order = {role.converted_name: number for number, role in enumerate(roles)}
        return sorted(newest.values(), key=lambda task: (order.get(task.role, len(order)), task.index))

    def task_attempts(self, job: JobRecord, attempt_id: int, role: str, index: int) -> list[TaskRecord]:
        """Return the attempts of one task, newest first."""
        found = [task for task in self.store.tasks(job.id, attempt_id) if task.key == (role, index)]
        return sorted(found, key=lambda task: -task.attempt_id)

    def task_uid(self, job: JobRecord, task: TaskRecord) -> str:
        """Return the identity of a task, the same for all its attempts."""
        return self._launcher.task_uid(job, task)

    def config(self, job: JobRecord) -> dict[str, Any]:
        """Return the document of a job, its secrets masked."""
        return self.store.document(job.id)

    def notes(self, job: JobRecord) -> list[str]:
        """Return what users should know about how the job is run here."""
        spec = self._spec(job)
        images = dict.fromkeys(role.docker_image_uri for role in spec.task_roles)
        plugins = dict.fromkeys(
            plugin.name for role in spec.task_roles for plugin in role_plugins(spec, role)
        )
        return [f"image {uri!r} {IMAGE_NOTE}" for uri in images] + [
            f"runtime plugin {name!r} is not run: the embedded cluster knows only 'cmd'"
            for name in plugins
            if name != "cmd"
        ]

    def events(self, job: JobRecord, type_: str | None = None) -> list[EventRecord]:
        """Return the events of a job, newest first, of one type (``Normal``, ``Warning``) or of all."""
        live = self._lifecycle.live.get(job.id)
        attempts = range((job.attempt_id or 0) + 1) if job.attempt_id is not None else ()
        events = job_history(
            job,
            [task for attempt_id in attempts for task in self.store.tasks(job.id, attempt_id)],
            self.store.events(job.id),
            waits_since_ms=live.queued_ms if live else 0,
            waits_for=self._lifecycle.allocator.reason(live) if live else None,
        )
        return [event for event in events if type_ is None or event.type == type_]

    def set_tags(self, job: JobRecord, tags: tuple[str, ...]) -> None:
        """Give a job these tags and no others."""
        live = self._lifecycle.live.get(job.id)
        record = live.record if live is not None else job
        record.tags = job.tags = tags
        self.store.save_job(record)
        self.store.flush()

    def counts_by_state(self) -> dict[str, int]:
        """Return how many jobs are in each state."""
        return self.store.counts_by_state()

    def usage(self) -> dict[str, tuple[int, int, int]]:
        """Return what is in use in each virtual cluster: CPUs, GPUs, MB of memory."""
        used: dict[str, Request] = {}
        for task in self._lifecycle.running.values():
            name = task.live.spec.virtual_cluster
            used[name] = used.get(name, NOTHING).plus(task.request)
        return {name: (request.cpu, request.gpu, request.memory_mb) for name, request in used.items()}

    def log(self, task: TaskRecord) -> TaskLog | None:
        """Return the logs of a task attempt, or ``None`` when it has none (not started, or cleaned away)."""
        running = self._lifecycle.running.get(task.pod_uid)
        if running is not None:
            return running.log
        files = self.home.task(task.pod_uid)
        return TaskLog(files) if os.path.exists(files.stdout) else None

    def _spec(self, job: JobRecord) -> JobSpec:
        live = self._lifecycle.live.get(job.id)
        if live is not None:
            return live.spec
        return with_unique_roles(job_spec_from_document(without_secrets(self.config(job))))

    # --- waiting -------------------------------------------------------------------------------
    async def wait(
        self, frameworks: Sequence[tuple[str, str]], *, timeout_s: float, any_of: bool = False
    ) -> list[JobRecord]:
        """Return the jobs once all of them (``any_of``: one of them) are over, or as they are at the timeout.

        Raises:
            JobNotFoundError: There is no such job.
        """
        records = [self._existing(user, name) for user, name in frameworks]
        waiting = {record.id for record in records if record.id in self._lifecycle.live}
        any_over = len(waiting) < len(records)
        deadline = self._loop.time() + timeout_s
        with contextlib.ExitStack() as stack:
            event = asyncio.Event()
            for number in waiting:
                stack.enter_context(JobWatch(self._watches, number, event))
            while waiting and not (any_of and any_over):
                try:
                    await asyncio.wait_for(event.wait(), max(0.0, deadline - self._loop.time()))
                except asyncio.TimeoutError:
                    break
                event.clear()
                still = {number for number in waiting if number in self._lifecycle.live}
                any_over = any_over or len(still) < len(waiting)
                waiting = still
        return [self._existing(user, name) for user, name in frameworks]

    def _existing(self, user: str, name: str) -> JobRecord:
        record = self.job(user, name)
        if record is None:
            raise JobNotFoundError(f"Job {user}~{name} is not found.")
        return record

    def watch(self, job: JobRecord) -> JobWatch:
        """Return a context in which one can wait for changes: ``with scheduler.watch(job) as watch``."""
        return JobWatch(self._watches, job.id, asyncio.Event())

    def _wake(self, job_id: int) -> None:
        for event in self._watches.get(job_id, ()):
            event.set()

    # --- admission -----------------------------------------------------------------------------
    def _admit_soon(self) -> None:
        if not self._admission_scheduled and not self._closed:
            self._admission_scheduled = True
            self._loop.call_soon(self._admit)

    def _admit(self) -> None:
        self._admission_scheduled = False
        if not self._closed:
            self._lifecycle.allocator.allocate()


class JobWatch:
    """Waits for a change of a job or of its tasks."""

    def __init__(self, watches: dict[int, set[asyncio.Event]], job_id: int, event: asyncio.Event) -> None:
        self._watches = watches
        self._job_id = job_id
        self._event = event

    def __enter__(self) -> JobWatch:
        self._watches.setdefault(self._job_id, set()).add(self._event)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        events = self._watches.get(self._job_id, set())
        events.discard(self._event)
        if not events:
            self._watches.pop(self._job_id, None)

    async def changed(self, timeout_s: float | None = None) -> bool:
        """Wait for a change since the last call; ``False`` when time ran out."""
        try:
            await asyncio.wait_for(self._event.wait(), timeout_s)
        except asyncio.TimeoutError:
            return False
        self._event.clear()
        return True
