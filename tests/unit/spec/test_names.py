# SPDX-License-Identifier: MIT
"""Names and sizes."""

from __future__ import annotations

import pytest

from openpaisdk.errors import UsageError
from openpaisdk.spec import names


@pytest.mark.parametrize("name", ["hello", "a-b_C9", "x" * 255, "123"])
def test_a_good_job_name_has_no_problem(name):
    assert names.check_job_name(name) is None


@pytest.mark.parametrize("name", ["", "my job", "my.job", "alice~job", "abc\n", "x" * 256, "größe"])
def test_a_bad_job_name_has_a_problem_text(name):
    assert names.check_job_name(name)


@pytest.mark.parametrize(
    ("name", "converted"), [("ps_server", "psserver"), ("Worker", "worker"), ("_", ""), ("w0", "w0")]
)
def test_role_names_are_converted_as_the_orchestrator_does(name, converted):
    assert names.convert_role_name(name) == converted


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("jobRetries", "jobRetryCount"),
        ("taskroles", "taskRoles"),
        ("extra", "extras"),
        ("zebra", None),
        ("mame", "name"),
        ("x", None),
    ],
)
def test_the_nearest_name_is_found_when_one_is_near(word, found):
    choices = ["jobRetryCount", "taskRoles", "extras", "name"]
    assert names.nearest(word, choices) == found


@pytest.mark.parametrize(
    ("text", "size"),
    [("4096", 4096), ("4g", 4096), ("512m", 512), ("1.5g", 1536), ("1T", 1048576), ("2GiB", 2048)],
)
def test_memory_sizes_are_read_in_mb(text, size):
    assert names.parse_memory_mb(text) == size


@pytest.mark.parametrize("text", ["", "g", "-4g", "4x", "0", "1k", "four", "9" * 400])
def test_a_bad_memory_size_is_a_usage_error(text):
    with pytest.raises(UsageError):
        names.parse_memory_mb(text)


def test_generated_job_names_are_valid_and_differ():
    first, second = names.generate_job_name("my job.py"), names.generate_job_name("my job.py")
    assert first != second
    assert names.check_job_name(first) is None
    assert first.startswith("my-job-py-")
