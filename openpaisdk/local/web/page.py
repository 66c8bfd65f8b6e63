# SPDX-License-Identifier: MIT
"""The HTML of the pages: pure functions, every text from outside escaped, no scripts."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

from openpaisdk.local.records import JobRecord, Outcome, TaskRecord
from openpaisdk.spec.exit_codes import exit_spec

REFRESH_S = 5
"""A page of something that still changes loads itself again after this time."""

STYLE = """\
:root { color-scheme: light dark; --line: #8884; --muted: #777; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th { color: var(--muted); font-weight: 600; }
pre { border: 1px solid var(--line); border-radius: .4rem; padding: .8rem; overflow: auto;
  max-height: 40rem; }
.state { font-weight: 600; }
.SUCCEEDED { color: #2a8a3e; } .FAILED { color: #d1383d; } .RUNNING { color: #3b7dd8; }
.muted { color: var(--muted); }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEnd:
    """The end of one task's log."""

    title: str
    text: str
    cut: bool


def job_page(job: JobRecord, tasks: Sequence[TaskRecord], logs: Iterable[LogEnd]) -> str:
    """Return the page of one job."""
    facts = [
        ("State", _state(job.state.value)),
        ("User", escape(job.user)),
        ("Virtual cluster", escape(job.virtual_cluster)),
        ("Submitted", _moment(job.submitted_ms)),
        ("Started", _moment(job.launched_ms)),
        ("Completed", _moment(job.completed_ms)),
        ("Retries", str(job.retries)),
    ]
    if job.outcome is not None:
        facts.append(("Exit code", _exit(job.outcome)))
        facts.append(
            (
                "Diagnostics",
                f"<pre>{escape(job.outcome.diagnostics)}</pre>" if job.outcome.diagnostics else "",
            )
        )
    rows = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in facts if value)
    body = f"<h1>{escape(job.name)}</h1><table>{rows}</table>{_task_table(tasks)}{_log_sections(logs)}"
    return _page(job.name, body, refresh=not job.state.is_final)


def job_list_page(jobs: Iterable[JobRecord], uri: str) -> str:
    """Return the page that lists the newest jobs."""
    rows = "".join(
        f'<tr><td><a href="/jobs/{quote(job.framework, safe="~")}">{escape(job.name)}</a></td>'
        f"<td>{escape(job.user)}</td><td>{_state(job.state.value)}</td><td>{_moment(job.submitted_ms)}</td><td>{job.retries}</td></tr>"
        for job in jobs
    )
    if not rows:
        return _page(
            "OpenPAI", "<h1>OpenPAI, embedded cluster</h1><p>No job was submitted yet.</p>", refresh=True
        )
    head = "<tr><th>Job</th><th>User</th><th>State</th><th>Submitted</th><th>Retries</th></tr>"
    body = f'<h1>OpenPAI, embedded cluster</h1><p class="muted">{escape(uri)}</p><table>{head}{rows}</table>'
    return _page("OpenPAI", body, refresh=True)


def stranger_page() -> str:
    """Return the page for browsers that nobody let in."""
    text = (
        "<h1>OpenPAI, embedded cluster</h1><p>This page opens by a link that works once: "
        "<code>opai job status &lt;job-name&gt;</code> makes one.</p>"
    )
    return _page("OpenPAI", text, refresh=False)


def message_page(title: str, message: str) -> str:
    """Return a page that says one thing."""
    return _page(title, f"<h1>{escape(title)}</h1><p>{escape(message)}</p>", refresh=False)


def forward_page(path: str) -> str:
    """Return the page that goes on to another one at once."""
    body = f'<p><a href="{escape(path)}">go on</a></p>'
    return _page("OpenPAI", body, again=f"0;url={path}")


def _task_table(tasks: Sequence[TaskRecord]) -> str:
    if not tasks:
        return '<p class="muted">No task has been started yet.</p>'
    rows = "".join(
        f"<tr><td>{escape(task.role)}-{task.index}</td><td>{_state(task.state.value)}</td>"
        f"<td>{_exit(task.outcome) if task.outcome else ''}</td><td>{task.attempt_id}</td>"
        f"<td>{_moment(task.launched_ms)}</td><td>{_moment(task.completed_ms)}</td></tr>"
        for task in tasks
    )
    titles = ("Task", "State", "Exit code", "Retries", "Started", "Completed")
    head = "".join(f"<th>{title}</th>" for title in titles)
    return f"<h2>Tasks</h2><table><tr>{head}</tr>{rows}</table>"


def _log_sections(logs: Iterable[LogEnd]) -> str:
    return "".join(
        f"<h2>Log of {escape(log.title)}{' (end)' if log.cut else ''}</h2><pre>{escape(log.text)}</pre>"
        for log in logs
    )


def _exit(outcome: Outcome) -> str:
    text = f"{outcome.exit_code} {exit_spec(outcome.exit_code).get('phrase', '')}"
    if outcome.user_exit_code is not None and outcome.user_exit_code != outcome.exit_code:
        text += f" (the command's: {outcome.user_exit_code})"
    return escape(text)


def _state(state: str) -> str:
    return f'<span class="state {escape(state)}">{escape(state)}</span>'


def _moment(moment_ms: int | None) -> str:
    if moment_ms is None:
        return ""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment_ms / 1000))


def _page(title: str, body: str, *, refresh: bool = False, again: str = "") -> str:
    again = again or (str(REFRESH_S) if refresh else "")
    head = f'<meta http-equiv="refresh" content="{escape(again)}">' if again else ""
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>{head}'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>'
        f"<body>{body}</body></html>"
    )
