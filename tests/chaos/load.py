# SPDX-License-Identifier: MIT
"""Jobs of every kind that a crash of the server could harm, each of which knows how it must end.

Every task attempt adds a line to a file of its own before it does anything else: what ran twice has a line
twice, and the server must report exactly as many attempts as there are lines.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECRET = "chaos-secret-7f3a9"
"""Part of all secrets; nowhere on the disk when all is over."""


@dataclass(kw_only=True)
class Plan:
    """A job to submit, and what must come of it."""

    name: str
    document: dict[str, Any]
    user_code: int | None = 0
    """Exit code of the command that decides; ``None`` when the job is stopped instead."""
    attempts: int = 1
    """How many attempts the job needs, when nothing but its own command ends them."""
    lines: list[str] = field(default_factory=list)
    """What the task prints, when the job has one task and one attempt."""
    output: str | None = None
    stop_after_s: float | None = None
    followed: bool = False


def make_plans(chance: random.Random, count: int, marks: Path) -> list[Plan]:
    """Return jobs of all kinds, mixed."""
    kinds = [
        _plain,
        _plain,
        _plain,
        _gang,
        _counted_retries,
        _transient,
        _task_retries,
        _secret,
        _output,
        _talker,
    ]
    plans = []
    for number in range(count):
        kind = chance.choice([*kinds, _stopped])
        plans.append(kind(chance, f"chaos-{number}", marks))
    return plans


def _mark(marks: Path, name: str) -> str:
    """Return the line by which an attempt says that it runs."""
    return f'echo "$FC_FRAMEWORK_ATTEMPT_ID.$FC_TASK_ATTEMPT_ID" >> {marks}/{name}-$FC_TASK_INDEX'


def _document(name: str, marks: Path, *commands: str, instances: int = 1, **more: Any) -> dict[str, Any]:
    role = {
        "instances": instances,
        "dockerImage": "image",
        "resourcePerInstance": {"cpu": 1, "memoryMB": 16, "gpu": 0},
        "commands": [_mark(marks, name), *commands],
        **more.pop("role", {}),
    }
    return {
        "protocolVersion": 2,
        "name": name,
        "type": "job",
        "prerequisites": [{"type": "dockerimage", "name": "image", "uri": "python:3.11"}],
        "taskRoles": {"worker": role},
        **more,
    }


def _nap(chance: random.Random, longest_s: float = 0.6) -> str:
    return f"sleep {chance.uniform(0, longest_s):.3f}"


def _plain(chance: random.Random, name: str, marks: Path) -> Plan:
    code = chance.choice([0, 0, 1, 3, 42, 77])
    document = _document(name, marks, _nap(chance), f"exit {code}")
    return Plan(name=name, document=document, user_code=code)


def _gang(chance: random.Random, name: str, marks: Path) -> Plan:
    instances = chance.randint(2, 4)
    document = _document(name, marks, _nap(chance), "exit 0", instances=instances)
    return Plan(name=name, document=document)


def _counted_retries(chance: random.Random, name: str, marks: Path) -> Plan:
    retries = chance.randint(1, 3)
    code = chance.choice([5, 9])
    document = _document(name, marks, _nap(chance, 0.2), f"exit {code}", jobRetryCount=retries)
    return Plan(name=name, document=document, user_code=code, attempts=retries + 1)


def _transient(chance: random.Random, name: str, marks: Path) -> Plan:
    """A task that a signal seems to end, which is always tried again, until it has had enough."""
    times = chance.randint(1, 3)
    document = _document(
        name, marks, _nap(chance, 0.2), f'[ "$FC_FRAMEWORK_ATTEMPT_ID" -ge {times} ] || exit 137'
    )
    return Plan(name=name, document=document, attempts=times + 1)


def _task_retries(chance: random.Random, name: str, marks: Path) -> Plan:
    """Tasks that start and are tried again each for itself."""
    document = _document(
        name,
        marks,
        _nap(chance, 0.2),
        '[ "$FC_TASK_ATTEMPT_ID" -ge 1 ] || exit 6',
        instances=2,
        role={"taskRetryCount": 1},
        extras={"gangAllocation": False},
    )
    return Plan(name=name, document=document)


def _secret(chance: random.Random, name: str, marks: Path) -> Plan:
    word = f"{SECRET}-{chance.randrange(10**9)}"
    check = f"expr length '<% $secrets.word %>' = {len(word)} || exit 9"
    document = _document(name, marks, _nap(chance), check, "exit 4", secrets={"word": word})
    return Plan(name=name, document=document, user_code=4)


def _output(chance: random.Random, name: str, marks: Path) -> Plan:
    text = f"result {chance.randrange(10**9)}"
    document = _document(
        name,
        marks,
        _nap(chance),
        f"echo {text} > result.txt",
        extras={"openpaisdk": {"outputs": ["result.txt"]}},
    )
    return Plan(name=name, document=document, output=f"{text}\n")


def _talker(chance: random.Random, name: str, marks: Path) -> Plan:
    count = chance.randint(20, 60)
    loop = f"for n in $(seq {count}); do echo line $n of {name}; sleep 0.02; done"
    lines = [f"line {number} of {name}" for number in range(1, count + 1)]
    return Plan(name=name, document=_document(name, marks, loop), lines=lines, followed=True)


def _stopped(chance: random.Random, name: str, marks: Path) -> Plan:
    document = _document(name, marks, "sleep 600 & sleep 600", instances=chance.randint(1, 2))
    return Plan(name=name, document=document, user_code=None, stop_after_s=chance.uniform(0, 0.8))
