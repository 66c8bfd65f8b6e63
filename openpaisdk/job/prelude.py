# SPDX-License-Identifier: MIT
"""What stands before a job's own commands: fetching sources, installing packages, storing outputs.

The text is ``runtime/prelude.sh`` behind a few lines that say what this job needs. It is put in when a job is
sent and taken out when a sent job is taken over again, so that each cluster gets what fits it.
"""

from __future__ import annotations

from openpaisdk.constants import OUTPUT_FOLDER, VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from openpaisdk.core import Cluster

MARKER = "# --- openpaisdk:"
"""How the first line of a prelude begins; by it, preludes are found again in a job's configuration."""
END = "# --- the job's own commands:"
OPEN, CLOSE = "(", ")"
"""Around the commands where this shell stores outputs when it ends: an ``exec`` must not prevent that."""


def add_preludes(
    document: dict[str, Any],
    cluster: Cluster,
    workspace: str,
    recipe: dict[str, Any],
    requirements: Sequence[str],
) -> None:
    """Put a prelude before the commands of each task role, behind those that only set variables.

    Raises:
        ConfigError: The job needs a storage and none is known for the cluster.
    """
    needs_storage = bool(recipe.get("code") or recipe.get("outputs"))
    storage_uri = find_storage(cluster, is_needed=needs_storage)
    if storage_uri is None and not needs_storage and not recipe.get("packages"):
        return
    address = f"{storage_uri}{workspace.rstrip('/')}" if storage_uri else ""
    roles = document["taskRoles"]
    tasks = sum(role.get("instances", 1) for role in roles.values())
    for name, role in roles.items():
        folder = output_folder(name, is_only_task=tasks == 1)
        text = build_prelude(address, folder, recipe, requirements)
        position = _exports(role["commands"])
        before, own = role["commands"][:position], role["commands"][position:]
        role["commands"] = [*before, text, OPEN, *own, CLOSE] if storage_uri else [*before, text, *own]


def find_storage(cluster: Cluster, *, is_needed: bool) -> str | None:
    """Return the ``webhdfs://host:port`` of a real cluster's storage.

    ``None`` on the embedded one, which tells its tasks itself, and where no storage is known.

    Raises:
        ConfigError: None is known but one is needed.
    """
    from openpaisdk.errors import ConfigError

    if cluster.is_embedded:
        return None
    try:
        uri = cluster._storage_uri(None)
    except ConfigError:
        if is_needed:
            raise
        return None
    scheme, separator, place = uri.partition("://")
    kind = {"http": "webhdfs", "https": "swebhdfs", "webhdfs": "webhdfs", "swebhdfs": "swebhdfs"}.get(scheme)
    if separator and kind is not None:
        return f"{kind}://{place.partition('/')[0]}"
    if is_needed:
        raise ConfigError(
            f"jobs on cluster {cluster.alias!r} cannot reach the storage {uri!r}, a WebHDFS is wanted",
            hint="opai cluster attach-hdfs --storage-alias hdfs --web-hdfs-uri http://host:9870 --default",
        )
    return None


def output_folder(role: str, *, is_only_task: bool) -> str:
    """Return the folder below the job's that a task stores into, as shell text for double quotes."""
    from openpaisdk.spec.names import convert_role_name

    if is_only_task:
        return OUTPUT_FOLDER
    return f"{OUTPUT_FOLDER}/{convert_role_name(role)}-$PAI_CURRENT_TASK_ROLE_CURRENT_TASK_INDEX"


def build_prelude(address: str, output: str, recipe: dict[str, Any], requirements: Sequence[str]) -> str:
    """Return the text of a prelude.

    Args:
        address: ``webhdfs://host:port/workspace``; empty where the platform says it to its tasks.
        output: What ``output_folder`` returned.
        recipe: ``extras.openpaisdk`` of the document.
        requirements: Requirement files among the sources.
    """
    from openpaisdk.job.commands import quote

    install = [word for name in requirements for word in ("-r", name)] + list(recipe.get("packages", ()))
    lines = [
        f"{MARKER} {VERSION}, runs before the job's own commands ---",
        f"paisdk_workspace={quote(address) if address else ''}",
        f'paisdk_output="{output}"',
        f"paisdk_code={'1' if recipe.get('code') else ''}",
        f"paisdk_install=({' '.join(map(quote, install))})",
        f"paisdk_outputs=({' '.join(map(quote, recipe.get('outputs', ())))})",
        f"paisdk_bootstrap='{_packed_bootstrap()}'",
        _shell_text(),
        END,
    ]
    return "\n".join(lines)


def remove_preludes(document: dict[str, Any]) -> None:
    """Take preludes out of a document's commands, so that fresh ones can be put in."""
    roles = document.get("taskRoles")
    for role in roles.values() if isinstance(roles, dict) else ():
        commands = role.get("commands") if isinstance(role, dict) else None
        if not isinstance(commands, list):
            continue
        for position, command in enumerate(commands):
            if isinstance(command, str) and command.startswith(MARKER):
                rest = commands[position + 1 :]
                if len(rest) > 2 and rest[0] == OPEN and rest[-1] == CLOSE:
                    rest = rest[1:-1]
                commands[position:] = rest
                break


def _exports(commands: Sequence[str]) -> int:
    """Count the commands at the beginning that only set variables: pip may need them, for its index say."""
    from openpaisdk.job.commands import is_export

    count = 0
    while count < len(commands) - 1 and is_export(commands[count]):
        count += 1
    return count


def _shell_text() -> str:
    lines = _read("prelude.sh").decode().splitlines()
    return "\n".join(line for line in lines if not line.startswith("#"))


def _packed_bootstrap() -> str:
    """Return a short Python program that runs ``bootstrap.py``, without a single quote in it."""
    import base64
    import zlib

    packed = base64.b64encode(zlib.compress(_read("bootstrap.py"), 9)).decode()
    rows = "\n".join(packed[at : at + 100] for at in range(0, len(packed), 100))
    return f'import base64,zlib\nexec(zlib.decompress(base64.b64decode("""\n{rows}\n""")))'


def _read(name: str) -> bytes:
    import os

    folder = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "runtime")
    with open(os.path.join(folder, name), "rb") as file:
        return file.read()
