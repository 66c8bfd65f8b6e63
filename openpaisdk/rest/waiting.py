# SPDX-License-Identifier: MIT
"""Waiting for jobs to end: the embedded cluster says when, others are asked again and again."""

from __future__ import annotations

import time

from openpaisdk.errors import WaitTimeoutError
from openpaisdk.rest.replies import job_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from openpaisdk.rest.client import RestClient

LONG_POLL_S = 30.0
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0
JOBS_PER_REQUEST = 300
"""So many names of the longest kind, a user's and a job's, stay within what a server takes at once."""


def wait_for_jobs(
    client: RestClient,
    jobs: Sequence[tuple[str, str]],
    timeout_s: float | None,
    *,
    is_embedded: bool,
    sleep: Callable[[float], object] = time.sleep,
) -> list[dict[str, Any]]:
    """Return how each job has ended, once all have.

    Args:
        client: Where to ask.
        jobs: For each job the name to give it in the answer, and ``user~name``.
        timeout_s: Longest wait in seconds; ``None`` waits for ever, ``0`` looks once.
        is_embedded: Whether the server itself can wait.
        sleep: Waits for so many seconds.

    Raises:
        JobNotFoundError: There is no such job.
        WaitTimeoutError: Time ran out.
    """
    if not jobs:
        return []
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    if is_embedded:
        results, is_done = _wait_at_server(client, jobs, deadline)
    else:
        results, is_done = _wait_by_looking(client, jobs, deadline, sleep)
    if not is_done:
        left = sum(1 for result in results if not _is_final(result))
        what = f"job {jobs[0][0]!r} has" if len(jobs) == 1 else f"{left} of {len(jobs)} jobs have"
        raise WaitTimeoutError(
            f"{what} not ended within {timeout_s:g} s", last=results, hint="it goes on; wait for it again"
        )
    return results


def _wait_at_server(
    client: RestClient, jobs: Sequence[tuple[str, str]], deadline: float | None
) -> tuple[list[dict[str, Any]], bool]:
    """Wait for one group of jobs after the other: a request holds only so many names (rest-api-v2 §1)."""
    results: list[dict[str, Any]] = []
    are_done = True
    for begin in range(0, len(jobs), JOBS_PER_REQUEST):
        group = jobs[begin : begin + JOBS_PER_REQUEST]
        found, is_done = _wait_for_group(client, group, deadline, may_start=begin == 0)
        results += found
        are_done = are_done and is_done
    return results, are_done


def _wait_for_group(
    client: RestClient, jobs: Sequence[tuple[str, str]], deadline: float | None, *, may_start: bool
) -> tuple[list[dict[str, Any]], bool]:
    while True:
        left_s = LONG_POLL_S if deadline is None else max(0.0, min(LONG_POLL_S, deadline - time.monotonic()))
        reply = client.extension(
            "POST",
            "/wait",
            {"jobs": [job for _, job in jobs], "timeout_s": left_s, "mode": "all"},
            job=jobs[0][0] if len(jobs) == 1 else None,
            may_start=may_start,
            read_timeout_s=left_s + 30,
            only_looks=True,
        )
        may_start = False  # a server that is stopped while we wait stays stopped
        states = reply.get("jobs", {})
        results = [_result(name, states.get(job, {})) for name, job in jobs]
        if reply.get("done"):
            return results, True
        if deadline is not None and time.monotonic() >= deadline:
            return results, False


def _wait_by_looking(
    client: RestClient,
    jobs: Sequence[tuple[str, str]],
    deadline: float | None,
    sleep: Callable[[float], object],
) -> tuple[list[dict[str, Any]], bool]:
    seen: dict[str, dict[str, Any]] = {}
    pause_s = FIRST_PAUSE_S
    while True:
        for name, job in jobs:
            if name not in seen or not _is_final(seen[name]):
                seen[name] = job_result(client.job_detail(job), name)
        results = [seen[name] for name, _ in jobs]
        if all(_is_final(result) for result in results):
            return results, True
        left_s = pause_s if deadline is None else min(pause_s, deadline - time.monotonic())
        if left_s <= 0:
            return results, False
        sleep(left_s)
        pause_s = min(LONGEST_PAUSE_S, pause_s * 1.4)


def _result(name: str, value: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "state": value.get("state", "UNKNOWN"),
        "exit_code": value.get("exit_code"),
        "user_exit_code": value.get("user_exit_code"),
    }


def _is_final(result: dict[str, Any]) -> bool:
    from openpaisdk.spec.names import FINAL_STATES

    return result["state"] in FINAL_STATES
