# SPDX-License-Identifier: MIT
"""This machine and its tasks as Kubernetes would show them to admins, and alerts (rest-api-v2 §10)."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from openpaisdk.local.api.replies import NODE_NAME, framework_id, stable_uid
from openpaisdk.local.api_error import invalid_parameters
from openpaisdk.local.records import JobQuery, JobRecord, TaskRecord
from openpaisdk.local.routing import ApiRoute, JsonReply
from openpaisdk.local.services import Services
from openpaisdk.spec.state import JobState

_NAMESPACE = "default"
_PHASES = {
    JobState.WAITING: "Pending",
    JobState.RUNNING: "Running",
    JobState.STOPPING: "Running",
    JobState.SUCCEEDED: "Succeeded",
}


class KubernetesRoutes:
    """Answers to admins' tools."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._scheduler = services.scheduler
        self._auth = services.auth
        self._started_s = time.time()

    def routes(self) -> list[ApiRoute]:
        """Return the routes of both API versions."""
        found = [ApiRoute("GET", "/api/v2/alerts", self.alerts)]
        for base in ("/api/v2/kubernetes", "/api/v1/kubernetes"):
            found += [
                ApiRoute("GET", f"{base}/nodes", self.nodes),
                ApiRoute("GET", f"{base}/pods", self.pods),
            ]
        return found

    async def alerts(self, request: Request) -> Response:
        """List alerts, of which there are none: nothing watches this machine."""
        self._auth.any_token(request)
        return JsonReply([])

    async def nodes(self, request: Request) -> Response:
        """Show this machine as a node."""
        self._auth.admin(request)
        return JsonReply(_list("NodeList", [self._node()]))

    async def pods(self, request: Request) -> Response:
        """Show the tasks of jobs that are not over, each as a pod."""
        self._auth.admin(request)
        namespace = request.query_params.get("namespace", _NAMESPACE)
        selector = _parse_selector(request.query_params.get("labelSelector", ""))
        pods = [_pod(job, task, self._services.machine.ip) for job, task in self._tasks()]
        wanted = [
            pod
            for pod in pods
            if namespace == _NAMESPACE and selector.items() <= pod["metadata"]["labels"].items()
        ]
        return JsonReply(_list("PodList", wanted))

    def _tasks(self) -> Iterable[tuple[JobRecord, TaskRecord]]:
        states = (JobState.WAITING.value, JobState.RUNNING.value, JobState.STOPPING.value)
        for job in self._scheduler.jobs(JobQuery(states=states)):
            if job.attempt_id is not None:
                for task in self._scheduler.tasks(job, job.attempt_id):
                    yield job, task

    def _node(self) -> dict[str, Any]:
        machine = self._services.machine
        amounts = {
            "cpu": str(machine.cpu),
            "memory": f"{machine.memory_mb * 1024}Ki",
            "nvidia.com/gpu": str(len(machine.gpus)),
            "pods": "110",
        }
        return {
            "metadata": {
                "name": NODE_NAME,
                "labels": {"pai-worker": "true"},
                "uid": stable_uid("node", NODE_NAME),
                "creationTimestamp": _moment(self._started_s),
                "resourceVersion": "1",
            },
            "spec": {},
            "status": {
                "capacity": amounts,
                "allocatable": amounts,
                "addresses": [{"type": "InternalIP", "address": machine.ip}],
                "conditions": [{"type": "Ready", "status": "True"}],
            },
            "apiVersion": "v1",
            "kind": "Node",
        }


def _parse_selector(text: str) -> dict[str, str]:
    """Return the labels that ``labelSelector`` wants, in its form ``name=value,…``.

    Raises:
        ApiError: 400, it has another form.
    """
    found = {}
    for word in filter(None, text.split(",")):
        name, equals, value = word.replace("==", "=").partition("=")
        if not equals or not name or name.endswith("!"):
            raise invalid_parameters(f'"labelSelector" takes name=value,… here, got {word!r}')
        found[name.strip()] = value.strip()
    return found


def _list(kind: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"kind": kind, "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}


def _pod(job: JobRecord, task: TaskRecord, ip: str) -> dict[str, Any]:
    name = f"{framework_id(job.framework)}-{task.role}-{task.index}"
    return {
        "metadata": {
            "name": name,
            "namespace": _NAMESPACE,
            "uid": task.pod_uid,
            "creationTimestamp": _moment(task.created_ms / 1000),
            "labels": {
                "FC_FRAMEWORK_NAME": framework_id(job.framework),
                "FC_TASKROLE_NAME": task.role,
                "FC_TASK_INDEX": str(task.index),
                "jobName": job.name,
                "userName": job.user,
                "virtualCluster": job.virtual_cluster,
            },
        },
        "spec": {"nodeName": NODE_NAME, "hostNetwork": True, "containers": [{"name": "app"}]},
        "status": {
            "phase": _PHASES.get(task.attempt_state, "Failed"),
            "hostIP": ip,
            "podIP": ip,
            "startTime": None if task.launched_ms is None else _moment(task.launched_ms / 1000),
        },
        "apiVersion": "v1",
        "kind": "Pod",
    }


def _moment(moment_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment_s))
