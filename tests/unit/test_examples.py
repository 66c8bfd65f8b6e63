# SPDX-License-Identifier: MIT
"""The examples are what the documentation promises."""

from __future__ import annotations

import ast
from pathlib import Path

from openpaisdk.job import Job
from openpaisdk.spec.references import render_commands

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_distributed_example_is_valid_without_a_warning():
    job = Job.load(EXAMPLES / "distributed" / "job.yaml")
    assert job.validate() == []
    assert job.task_roles == ["ps", "worker"]


def test_the_programs_in_the_distributed_example_are_python():
    document = Job.load(EXAMPLES / "distributed" / "job.yaml").to_dict()
    for role in document["taskRoles"]:
        text = render_commands(document, role)
        program = text.partition("<<'PYTHON'\n")[2].partition("\nPYTHON\n")[0]
        assert "socket" in program
        ast.parse(program)


def test_the_digits_example_says_what_it_leaves():
    text = (EXAMPLES / "digits" / "train.py").read_text(encoding="utf-8")
    ast.parse(text)
    assert all(name in text for name in ("model.joblib", "metrics.json", "confusion.png", '"accuracy"'))
