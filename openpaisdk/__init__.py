# SPDX-License-Identifier: MIT
"""Describe, submit and follow jobs on OpenPAI clusters, or on the cluster that comes with this package.

Nothing heavy is loaded here: names are looked up on first use.
"""

from __future__ import annotations

from openpaisdk.constants import VERSION as __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from openpaisdk.core import Client, Cluster, OpenPAIClient, in_job_container
    from openpaisdk.engine import Engine
    from openpaisdk.job import Job

__all__ = [
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

__install__ = f"openpaisdk=={__version__}"
"""What to give to pip so that a job has this version of the package."""

_HOME_OF_NAME = {
    "Client": "openpaisdk.core",
    "Cluster": "openpaisdk.core",
    "OpenPAIClient": "openpaisdk.core",
    "in_job_container": "openpaisdk.core",
    "Engine": "openpaisdk.engine",
    "Job": "openpaisdk.job",
}


def __getattr__(name: str) -> Any:
    if name == "__cluster_config_file__":
        import os

        from openpaisdk._files import home_folder
        from openpaisdk.constants import CLUSTERS_FILE

        return os.path.join(home_folder(), CLUSTERS_FILE)
    if name in _HOME_OF_NAME:
        import importlib

        return getattr(importlib.import_module(_HOME_OF_NAME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
