# SPDX-License-Identifier: MIT
"""Sending a job document once, though the answer may get lost."""

from __future__ import annotations

from openpaisdk.constants import BODY_LIMIT_BYTES
from openpaisdk.errors import (
    ClusterConnectionError,
    ClusterError,
    JobExistsError,
    JobNotFoundError,
    SpecError,
)
from openpaisdk.spec.wire import dump_wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from openpaisdk.rest.client import RestClient

_LOST_ANSWERS = 3


def submit_once(client: RestClient, document: dict[str, Any], job: str) -> dict[str, Any]:
    """Send a job document and return the server's answer, ``{}`` when that was lost on the way.

    After a lost answer the job is looked for, and the document sent again where there is none: a second
    request would meet the job that the first one made (rest-api-v2 §16).

    Args:
        client: Where to send it.
        document: The job, in protocol v2.
        job: The job as ``user~name``.

    Raises:
        JobExistsError: There is another job of this name.
        SpecError: The document is too large, or the cluster refuses it.
        ClusterConnectionError: The cluster cannot be reached.
    """
    name = str(document.get("name", ""))
    text = dump_wire(document)
    size = len(text.encode())
    if size > BODY_LIMIT_BYTES:
        raise SpecError(
            f"job document {name!r} has {size} bytes, a cluster takes {BODY_LIMIT_BYTES} at most",
            hint="put long scripts and data into files: the job's sources or storage",
        )
    lost = 0
    while True:
        try:
            return client.submit_job(text, job=name)
        except JobExistsError:
            if lost and _is_there(client, document, job):
                return {}
            raise
        except ClusterError as exc:
            lost += 1
            if not _is_lost(exc) or lost > _LOST_ANSWERS:
                raise
        if _is_there(client, document, job):
            return {}


def _is_lost(exc: ClusterError) -> bool:
    """Tell whether the server may have taken the document though it gave no answer."""
    if isinstance(exc, ClusterConnectionError):
        return bool(getattr(exc.__cause__, "sent", False))
    return exc.status in (502, 503, 504)


def _is_there(client: RestClient, document: dict[str, Any], job: str) -> bool:
    """Tell whether the cluster has a job of this name and of this very document."""
    try:
        config = client.job_config(job)
    except JobNotFoundError:
        return False
    return _comparable(config) == _comparable(document)


def _comparable(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document without what a server does not give back: secrets, and keys that are null."""
    return {key: value for key, value in document.items() if key != "secrets" and value is not None}
