# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import openpaisdk

NAMES = [
    "Client",
    "Cluster",
    "Engine",
    "Job",
    "OpenPAIClient",
    "__cluster_config_file__",
    "__install__",
    "__version__",
    "in_job_container",
]
HEAVY = {"requests", "urllib3", "yaml", "jsonschema", "hdfs", "nbformat", "tabulate", "starlette", "uvicorn"}
SLOW = {
    "typing",
    "dataclasses",
    "logging",
    "subprocess",
    "asyncio",
    "email",
    "ssl",
    "http.client",
    "urllib.request",
}


def test_the_package_exports_these_names_and_no_others():
    assert sorted(openpaisdk.__all__) == openpaisdk.__all__ == NAMES
    assert dir(openpaisdk) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_name_can_be_had(name):
    assert getattr(openpaisdk, name) is not None


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'Nothing'"):
        _ = openpaisdk.Nothing


def test_the_documented_import_paths_work():
    from openpaisdk.core import Client, Cluster, OpenPAIClient, in_job_container
    from openpaisdk.engine import Engine
    from openpaisdk.job import Job

    assert Client is Cluster is OpenPAIClient is openpaisdk.Client
    assert callable(in_job_container)
    assert (Engine, Job) == (openpaisdk.Engine, openpaisdk.Job)
    for method in (
        "from_alias",
        "from_env",
        "from_json",
        "jobs",
        "submit",
        "wait",
        "logs",
        "follow",
        "stop",
        "storage",
    ):
        assert callable(getattr(Cluster, method))
    for method in ("load", "from_dict", "preview", "submit"):
        assert callable(getattr(Job, method))


def test_the_clusters_file_is_in_the_home_of_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENPAI_HOME", str(tmp_path))
    assert openpaisdk.__cluster_config_file__ == str(tmp_path / "clusters.json")


def loaded_by(code, tmp_path):
    """Return the modules that are loaded once ``code`` has run in a process of its own."""
    script = f"import sys\n{code}\nimport json\nprint(json.dumps(sorted(sys.modules)))"
    root = os.path.dirname(os.path.dirname(openpaisdk.__file__))
    environment = {**os.environ, "PYTHONPATH": root, "OPENPAI_HOME": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


RUN = "from openpaisdk.cli.main import run\nassert run({words}) == {code}"


@pytest.mark.parametrize("words", [["-h"], ["job", "-h"], [], ["--version"]])
def test_help_loads_no_parser_and_nothing_slow(words, tmp_path):
    loaded = loaded_by(RUN.format(words=words, code=0), tmp_path)
    before = loaded_by("", tmp_path)
    assert not (loaded - before) & (HEAVY | SLOW | {"argparse", "socket", "pathlib"})


@pytest.mark.parametrize(
    "words",
    [
        ["job", "list", "-h"],
        ["job", "fast", "-h"],
        ["default", "list", "-q"],
        ["storage", "list", "file:///"],
    ],
)
def test_a_command_loads_nothing_heavy(words, tmp_path):
    assert not loaded_by(RUN.format(words=words, code=0), tmp_path) & HEAVY


def test_a_usage_error_loads_nothing_heavy(tmp_path):
    assert not loaded_by(RUN.format(words=["job", "list", "--nmae"], code=2), tmp_path) & HEAVY


@pytest.mark.parametrize("module", ["openpaisdk", "openpaisdk.core", "openpaisdk.job", "openpaisdk.engine"])
def test_importing_loads_nothing_slow(module, tmp_path):
    loaded = loaded_by(f"import {module}", tmp_path)
    before = loaded_by("", tmp_path)
    assert not (loaded - before) & (HEAVY | SLOW)
