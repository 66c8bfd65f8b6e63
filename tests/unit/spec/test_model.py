# SPDX-License-Identifier: MIT
"""From a document to a job with its defaults, and to the environment of its tasks."""

from __future__ import annotations

import pytest

from openpaisdk.spec.codec import job_spec_from_document
from openpaisdk.spec.environment import Placement, TaskIdentity, framework_name, task_environment
from openpaisdk.spec.ports import task_ports
from openpaisdk.spec.state import FINAL_STATES, JobState


def _document(**role):
    worker = {
        "dockerImage": "img",
        "resourcePerInstance": {"cpu": 1, "memoryMB": 100, "gpu": 0},
        "commands": ["echo <% $parameters.a %> <% $secrets.t %>"],
        **role,
    }
    return {
        "protocolVersion": 2,
        "name": "j1",
        "type": "job",
        "parameters": {"a": 1.0},
        "secrets": {"t": "hidden-text"},
        "prerequisites": [{"type": "dockerimage", "name": "img", "uri": "ubuntu:18.04"}],
        "taskRoles": {"ps_server": worker},
    }


def test_defaults_are_applied():
    spec = job_spec_from_document(_document())
    role = spec.task_roles[0]
    assert (spec.virtual_cluster, spec.job_retry_count, spec.gang_allocation, spec.priority) == (
        "default",
        0,
        True,
        None,
    )
    assert (role.instances, role.converted_name, role.docker_image_uri) == (1, "psserver", "ubuntu:18.04")
    assert (role.completion.min_failed, role.completion.min_succeeded) == (1, 1)
    assert (role.resources.shm_mb, role.resources.declared_shm_mb) == (512, 0)
    assert dict(role.resources.ports) == {"ssh": 1, "http": 1}
    assert role.entrypoint == "echo 1 <% $secrets.t %>"
    assert (spec.total_tasks, spec.total_gpus) == (1, 0)


@pytest.mark.parametrize(
    ("completion", "effective"),
    [
        ({}, (1, 3)),
        ({"minFailedInstances": None, "minSucceededInstances": 0}, (1, 3)),
        ({"minFailedInstances": -1, "minSucceededInstances": 2.0}, (-1, 2)),
    ],
)
def test_completion_is_given_as_it_is_in_effect(completion, effective):
    role = job_spec_from_document(_document(instances=3.0, completion=completion)).task_roles[0]
    assert role.instances == 3
    assert isinstance(role.instances, int)
    assert (role.completion.min_failed, role.completion.min_succeeded) == effective


@pytest.mark.parametrize(
    ("value", "gang"), [(False, False), (True, True), ("no", True), (0, True), (None, True)]
)
def test_only_the_boolean_false_switches_gang_allocation_off(value, gang):
    assert job_spec_from_document(_document() | {"extras": {"gangAllocation": value}}).gang_allocation is gang


def test_virtual_cluster_and_priority_are_read():
    document = _document() | {
        "defaults": {"virtualCluster": 5},
        "extras": {"hivedScheduler": {"jobPriorityClass": "prod"}},
    }
    spec = job_spec_from_document(document)
    assert (spec.virtual_cluster, spec.priority) == ("5", "prod")


def test_a_role_is_found_by_either_spelling():
    spec = job_spec_from_document(_document())
    assert spec.find_role("ps_server") is spec.find_role("psserver") is spec.task_roles[0]
    assert spec.find_role("other") is None


def test_nothing_secret_shows_in_a_representation():
    assert "hidden-text" not in repr(job_spec_from_document(_document()))


def test_ports_are_those_of_the_platform():
    assert task_ports("uid-0", {"my": 2}) == {"my": [28556, 36052], "ssh": [38129], "http": [36769]}
    assert task_ports("uid-1", {"my": 2}) == {"my": [29475, 33359], "ssh": [35107], "http": [31508]}
    assert task_ports("uid-0", {"ssh": 0, "neg": -1, "http": 1}) == {"ssh": [], "neg": [], "http": [36769]}


def test_states_are_equal_to_their_names():
    assert JobState("RUNNING") == "RUNNING"
    assert str(JobState.FAILED) == "FAILED"
    assert [state.value for state in JobState if state.is_final] == sorted(
        FINAL_STATES, key=list(JobState).index
    )


def test_the_environment_is_that_of_the_platform_in_both_spellings_of_a_role():
    document = _document(instances=2, resourcePerInstance={"cpu": 1, "memoryMB": 100, "gpu": 2})
    document["taskRoles"]["Worker"] = _document(instances=3, extraContainerOptions={"shmMB": 64})[
        "taskRoles"
    ]["ps_server"]
    spec = job_spec_from_document(document)
    placements = {
        ("psserver", 0): Placement(ip="10.0.0.1", ports=task_ports("uid-0", {"my": 2})),
        ("psserver", 1): Placement(ip="10.0.0.2", ports=task_ports("uid-1", {"my": 2})),
        ("worker", 0): Placement(ip=None),
    }
    identity = TaskIdentity(
        framework_uid="f", configmap_uid="c", role_uid="r", task_uid="t", pod_uid="uid-1", task_attempt=3
    )
    variables = task_environment(
        spec,
        user="alice",
        role=spec.task_roles[0],
        index=1,
        placements=placements,
        identity=identity,
        work_dir="/w",
        gpu_ids=[4, 5],
    )
    expected = {
        "PAI_JOB_NAME": "alice~j1",
        "PAI_USER_NAME": "alice",
        "PAI_DEFAULT_FS_URI": "",
        "PAI_TASK_ROLE_COUNT": "2",
        "PAI_TASK_ROLE_LIST": "ps_server,Worker",
        "PAI_TASK_ROLE_TASK_COUNT_Worker": "3",
        "PAI_TASK_ROLE_TASK_COUNT_worker": "3",
        "PAI_RESOURCE_ps_server": "2,1,100,0",
        "PAI_RESOURCE_Worker": "0,1,100,64",
        "PAI_MIN_SUCCEEDED_TASK_COUNT_psserver": "2",
        "PAI_CURRENT_TASK_ROLE_NAME": "ps_server",
        "PAI_TASKS_NUM": "5",
        "NVIDIA_VISIBLE_DEVICES": "4,5",
        "PAI_HOST_IP_psserver_0": "10.0.0.1",
        "PAI_HOST_IP_ps_server_1": "10.0.0.2",
        "PAI_PORT_LIST_psserver_1_my": "29475,33359",
        "PAI_psserver_1_my_PORT": "29475,33359",
        "PAI_TASK_ROLE_psserver_HOST_LIST": "10.0.0.1:36769,10.0.0.2:31508",
        "PAI_TASK_ROLE_INSTANCES": "psserver:0,psserver:1,worker:0,worker:1,worker:2",
        "PAI_CONTAINER_HOST_PORT_LIST": "my:29475,33359;ssh:35107;http:31508;",
        "PAI_CONTAINER_SSH_PORT": "35107",
        "PAI_CONTAINER_HOST_my_PORT_LIST": "29475,33359",
        "PAI_WORK_DIR": "/w",
        "FC_TASKROLE_NAME": "psserver",
        "FC_POD_NAME": f"{framework_name('alice', 'j1')}-psserver-1",
        "FC_TASK_ATTEMPT_INSTANCE_UID": "3_uid-1",
    }
    assert {key: variables.get(key) for key in expected} == expected
    assert not any(key.startswith("PAI_HOST_IP_worker") for key in variables)
    worker = task_environment(
        spec,
        user="alice",
        role=spec.task_roles[1],
        index=0,
        placements=placements,
        identity=identity,
        work_dir="/w",
    )
    assert worker["NVIDIA_VISIBLE_DEVICES"] == "none"
    assert worker["PAI_CURRENT_CONTAINER_IP"] == ""


@pytest.mark.parametrize("huge", [float("inf"), 10**400, 1e300])
def test_numbers_beyond_any_cluster_do_not_break_the_job(huge):
    spec = job_spec_from_document(_document(taskRetryCount=huge) | {"jobRetryCount": huge})
    assert spec.job_retry_count == spec.task_roles[0].task_retry_count == 2**31 - 1
