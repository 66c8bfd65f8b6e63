# SPDX-License-Identifier: MIT
"""Clusters: ``rest``, ``storage``, ``config`` and ``embedded`` behind one facade."""

from __future__ import annotations

import os

from openpaisdk.core.cluster import Cluster
from openpaisdk.core.local_server import local_credentials, open_local, stop_local

Client = Cluster
OpenPAIClient = Cluster

_JOB_MARKS = ("PAI_CONTAINER_ID", "PAI_CURRENT_TASK_ROLE_NAME")


def in_job_container(variable: str | None = None) -> bool:
    """Tell whether this program runs inside a job of OpenPAI (0.x, 1.x or the embedded cluster).

    Args:
        variable: Look for this environment variable instead of the platform's own.
    """
    return any(os.environ.get(name) for name in ((variable,) if variable else _JOB_MARKS))


__all__ = [
    "Client",
    "Cluster",
    "OpenPAIClient",
    "in_job_container",
    "local_credentials",
    "open_local",
    "stop_local",
]
