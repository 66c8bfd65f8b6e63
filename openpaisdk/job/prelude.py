# SPDX-License-Identifier: MIT
"""What stands before a job's own commands: fetching sources, installing packages, storing outputs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MARKER = "# --- openpaisdk:"
"""How the first line of a prelude begins; by it, preludes are found again in a job's configuration."""
OPEN, CLOSE = "(", ")"


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
