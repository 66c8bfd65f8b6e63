# SPDX-License-Identifier: MIT
"""The embedded cluster's server as its clients see it: reached, started again, stopped."""

from __future__ import annotations

from openpaisdk import embedded
from openpaisdk._secret import Secret
from openpaisdk.errors import ClusterError, LocalClusterError
from openpaisdk.rest.client import RestClient

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LABEL = "the embedded cluster"


def open_local(**options: Any) -> RestClient:
    """Return a client of the embedded cluster, which is started where need be.

    Raises:
        LocalClusterError: The server does not start.
        MissingExtraError: The packages that the server needs are not installed.
    """
    server = embedded.read_server_file()
    if server is None or not embedded.may_run(server):
        server = embedded.ensure_running()
    user, token = str(server.get("user", "")), Secret(server["token"])
    return RestClient(server["uri"], user=user, token=token, label=_LABEL, revive=_revive, **options)


def _revive(because: str) -> tuple[str, Secret] | None:
    """Return where the server is now; what makes a client ask decides whether it is started."""
    if because == "refused":
        server: dict[str, Any] | None = embedded.ensure_running()
    elif because == "lost":
        server = embedded.restart_crashed()
    else:
        server = embedded.read_server_file()
    return None if server is None else (server["uri"], Secret(server["token"]))


def local_credentials() -> dict[str, Any]:
    """Return address, user, password and token of the embedded cluster, starting it if need be."""
    return open_local().extension("GET", "/credentials")


def stop_local(mode: str = "refuse", *, timeout_s: float = 60.0) -> dict[str, Any]:
    """Stop the embedded cluster and return its status; one that does not run stays so.

    Args:
        mode: What becomes of running tasks: ``refuse`` to stop, ``kill`` them, or ``leave`` them running.
        timeout_s: How long to wait for the server to end.

    Raises:
        LocalClusterError: Tasks are running and ``mode`` is ``refuse``, or the server does not end.
    """
    server = embedded.read_server_file()
    if server is None or not embedded.answers(server):
        return embedded.status()
    client = RestClient(server["uri"], token=Secret(server["token"]), label=_LABEL)
    try:
        client.extension("POST", "/shutdown", {"mode": mode}, may_start=False)
    except ClusterError as exc:
        if exc.status != 409:
            raise
        raise LocalClusterError(
            f"the embedded cluster is not stopped: {exc.message}",
            hint="--kill ends the tasks, --leave lets them run until the next start takes them up",
        ) from exc
    if not embedded.wait_gone(int(server["pid"]), timeout_s):
        raise LocalClusterError(f"the embedded cluster did not end within {timeout_s:g} s")
    return embedded.status()
