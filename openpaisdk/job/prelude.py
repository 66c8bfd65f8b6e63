# SPDX-License-Identifier: MIT
"""What stands before a job's own commands: fetching sources, installing packages, storing outputs.

The text is ``runtime/prelude.sh`` behind a few lines that say what this job needs. It is put in when a job is
sent and taken out when a sent job is taken over again, so that each cluster gets what fits it. It fetches the
job's archive, and the programs in there do the rest: see ``runtime_entries``.
"""

from __future__ import annotations

from openpaisdk.constants import HDFS_HINT, OUTPUT_FOLDER, RUNTIME_FOLDER, VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from openpaisdk.core import Cluster
    from openpaisdk.sources import Entry

MARKER = "# --- openpaisdk:"
"""How the first line of a prelude begins; by it, preludes are found again in a job's configuration."""
END = "# --- the job's own commands:"
OPEN, CLOSE = "(", ")"
"""Around the commands where this shell stores outputs when it ends: an ``exec`` must not prevent that."""


PROGRAMS = ("start.sh", "bootstrap.py")
"""What stands first in an archive, in this order."""


def add_preludes(
    document: dict[str, Any],
    cluster: Cluster,
    workspace: str,
    recipe: dict[str, Any],
    *,
    requirements: Sequence[str],
    archive: str,
) -> bool:
    """Put a prelude before the commands of each task role, behind those that only set variables.

    Args:
        archive: Name of the archive in the job's code folder.

    Returns:
        Whether the job needs that archive.

    Raises:
        ConfigError: The job needs a storage and none is known for the cluster.
    """
    packages = list(recipe.get("packages", ()))
    storage_uri = find_storage(cluster, is_needed=any(map(recipe.get, ("code", "archives", "outputs"))))
    if storage_uri is None and not any(map(recipe.get, ("code", "archives", "packages"))):
        return False
    address = f"{storage_uri}{workspace.rstrip('/')}" if storage_uri else ""
    roles = document["taskRoles"]
    tasks = sum(role.get("instances", 1) for role in roles.values())
    needs_archive = storage_uri is not None or cluster.is_embedded
    for name, role in roles.items():
        folder = output_folder(name, is_only_task=tasks == 1)
        if needs_archive:
            text = build_prelude(address, folder, archive, recipe, requirements)
        else:
            text = build_plain_install(packages)
        position = _exports(role["commands"])
        before, own = role["commands"][:position], role["commands"][position:]
        role["commands"] = [*before, text, OPEN, *own, CLOSE] if storage_uri else [*before, text, *own]
    return needs_archive


def runtime_entries() -> list[Entry]:
    """Return what an archive begins with: the programs that the prelude hands over to."""
    import os

    from openpaisdk.sources import Entry

    return [
        Entry(f"{RUNTIME_FOLDER}/{name}", "file", _path(name), os.path.getsize(_path(name)))
        for name in PROGRAMS
    ]


def find_storage(cluster: Cluster, *, is_needed: bool) -> str | None:
    """Return the ``webhdfs://host:port`` of a real cluster's storage, with the hosts of all name nodes.

    ``None`` on the embedded one, which tells its tasks itself, and where no storage is known.

    Raises:
        ConfigError: None is known but one is needed.
    """
    from openpaisdk.errors import ConfigError, UsageError
    from openpaisdk.storage.hdfs.addresses import task_address

    if cluster.is_embedded:
        return None
    try:
        uri = cluster.storage_uri()
    except ConfigError:
        if is_needed:
            raise
        return None
    try:
        return task_address(uri)
    except UsageError:
        if is_needed:
            raise ConfigError(
                f"jobs on cluster {cluster.alias!r} cannot reach the storage {uri!r}, a WebHDFS is wanted",
                hint=HDFS_HINT,
            ) from None
        return None


def output_folder(role: str, *, is_only_task: bool) -> str:
    """Return the folder below the job's that a task stores into, as shell text for double quotes."""
    from openpaisdk.spec.names import convert_role_name

    if is_only_task:
        return OUTPUT_FOLDER
    return f"{OUTPUT_FOLDER}/{convert_role_name(role)}-$PAI_CURRENT_TASK_ROLE_CURRENT_TASK_INDEX"


def build_prelude(
    address: str, output: str, archive: str, recipe: dict[str, Any], requirements: Sequence[str]
) -> str:
    """Return the text of a prelude.

    Args:
        address: ``webhdfs://host:port/workspace``; empty where the platform says it to its tasks.
        output: What ``output_folder`` returned.
        archive: Name of the archive in the job's code folder.
        recipe: ``extras.openpaisdk`` of the document.
        requirements: Requirement files among the sources.
    """
    from openpaisdk.job.commands import quote

    install = [word for name in requirements for word in ("-r", name)] + list(recipe.get("packages", ()))
    lines = [
        f"{MARKER} {VERSION}, runs before the job's own commands ---",
        f"paisdk_workspace={quote(address) if address else ''}",
        f"paisdk_archive={quote(archive)}",
        f'paisdk_output="{output}"',
        f"paisdk_install=({' '.join(map(quote, install))})",
        f"paisdk_outputs=({' '.join(map(quote, recipe.get('outputs', ())))})",
        *_archive_lines(recipe.get("archives", ())),
        _shell_text(),
        END,
    ]
    return "\n".join(lines)


def _archive_lines(uris: Sequence[str]) -> list[str]:
    """Return the line that says which archives to fetch, and into which folder each."""
    if not uris:
        return []
    from openpaisdk.job.archives import folder_of
    from openpaisdk.job.commands import quote

    return [f"paisdk_archives=({' '.join(quote(word) for uri in uris for word in (uri, folder_of(uri)))})"]


def build_plain_install(packages: Sequence[str]) -> str:
    """Return the text that installs packages where there is no storage to bring anything else.

    Such a task is alone in its container, so that no environment of its own is wanted.
    """
    from openpaisdk.job.commands import quote

    lines = [
        f"{MARKER} {VERSION}, runs before the job's own commands ---",
        "# Debian's interpreter refuses to let pip change it; the container is this task's own",
        "PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --disable-pip-version-check --no-input \\",
        f"  -- {' '.join(map(quote, packages))} >&2 || exit 83",
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
    """Return ``prelude.sh`` without the paragraph that it begins with."""
    with open(_path("prelude.sh"), encoding="utf-8") as file:
        return file.read().partition("\n\n")[2].rstrip("\n")


def _path(name: str) -> str:
    import os

    folder = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "runtime")
    return os.path.join(folder, name)
