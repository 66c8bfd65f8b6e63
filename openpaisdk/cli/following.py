# SPDX-License-Identifier: MIT
"""Wait for a job that was just named, or follow what its tasks print until it ends."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from openpaisdk.cli.command import Context

ENDING_KEYS = ("state", "exit_code", "user_exit_code")
_LINE_LIMIT = 1 << 16
"""Where there are several tasks, a line that is longer than this is shown in pieces, as it comes."""


def count_tasks(document: Mapping[str, Any]) -> int:
    """Return how many tasks a protocol document asks for."""
    return sum(int(role.get("instances", 1)) for role in document["taskRoles"].values())


def follow_job(
    context: Context,
    name: str,
    *,
    role: str | None = None,
    index: int | None = None,
    stream: str = "all",
    tail: int | None = None,
    several_tasks: bool,
    whole_lines: bool = False,
) -> dict[str, Any]:
    """Hand on what the tasks of a job print until it ends, and return how it ended.

    Lines carry ``role[index] | `` in front where there are several tasks; else the text goes on as it comes,
    and with ``whole_lines`` gets the end of its last line where that is missing.
    """
    lines = LineFeed(context.stream, several_tasks=several_tasks)
    ending: dict[str, Any] = dict.fromkeys(ENDING_KEYS)
    try:
        for event in context.cluster.follow(name, role=role, index=index, stream=stream, tail=tail):
            kind = event["type"]
            if kind == "log":
                lines.feed(event["role"], event["index"], event["text"])
            elif kind == "note":
                context.note(f"note: {event['text']}")
            elif kind == "end":
                ending = {key: event.get(key) for key in ENDING_KEYS}
    except KeyboardInterrupt:
        lines.close()
        say_job_goes_on(context, name, "follow", "logs -f")
        raise
    lines.close()
    if whole_lines and not lines.ends_line:
        context.stream("\n")
    return ending


def wait_for_job(context: Context, name: str) -> dict[str, Any]:
    """Wait until a job has ended and return how."""
    try:
        ended = context.cluster.wait([name])[0]
    except KeyboardInterrupt:
        say_job_goes_on(context, name, "wait", "wait")
        raise
    return {key: ended.get(key) for key in ENDING_KEYS}


def say_job_goes_on(context: Context, names: str, verb: str, command: str) -> None:
    """Tell somebody who broke off what is still true and what can be done."""
    again, stop = f"opai job {command} {names}", f"opai job stop {names}"
    context.note(f"the job goes on: {verb} again with `{again}`, stop it with `{stop}`")


class LineFeed:
    """Puts the pieces of several tasks together to whole lines with the task's name in front."""

    def __init__(self, write: Callable[[str], None], *, several_tasks: bool) -> None:
        self._write = write
        self._several_tasks = several_tasks
        self.ends_line = True
        """Whether what was written so far ends with the end of a line."""
        self._unfinished: dict[tuple[str, int], str] = {}

    def feed(self, role: str, index: int, text: str) -> None:
        """Take the next piece of one task's output."""
        if not self._several_tasks:
            self._write(text)
            self.ends_line = text.endswith("\n") if text else self.ends_line
            return
        text = self._unfinished.pop((role, index), "") + text
        whole, newline, rest = text.rpartition("\n")
        if len(rest) > _LINE_LIMIT:
            whole, newline, rest = text, "\n", ""
        if rest:
            self._unfinished[role, index] = rest
        if newline:
            self._write("".join(f"{role}[{index}] | {line}\n" for line in whole.split("\n")))

    def close(self) -> None:
        """Write the lines that never got their end."""
        for (role, index), text in self._unfinished.items():
            self._write(f"{role}[{index}] | {text}\n")
        self._unfinished.clear()
