# SPDX-License-Identifier: MIT
"""Groups of users: what a user may do and use follows from the groups that he is in (rest-api-v2 §8)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

ADMIN_GROUP = "admingroup"
"""Its members are admins; it is always there."""
DEFAULT_GROUP = "default"
"""Everybody is in it, and so everybody may use the virtual cluster of this name."""

_TABLE = """
CREATE TABLE IF NOT EXISTS groups (
    name TEXT PRIMARY KEY, description TEXT NOT NULL, external_name TEXT NOT NULL, extension TEXT NOT NULL)
    WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One group; ``extension`` holds its rights under ``acls``."""

    name: str
    description: str = ""
    external_name: str = ""
    extension: dict[str, Any] = field(default_factory=dict)

    @property
    def admin(self) -> bool:
        """Whether its members are admins."""
        return self._acls.get("admin") is True

    @property
    def virtual_clusters(self) -> list[str]:
        """The virtual clusters that its members may use."""
        return list(self._acls.get("virtualClusters") or ())

    @property
    def storage_configs(self) -> list[str]:
        """The storages that its members may use."""
        return list(self._acls.get("storageConfigs") or ())

    @property
    def _acls(self) -> dict[str, Any]:
        return self.extension.get("acls") or {}

    @property
    def is_of_virtual_cluster(self) -> bool:
        """Whether it is the group of the virtual cluster of its name."""
        return self.virtual_clusters == [self.name]


class GroupStore:
    """Groups in an SQLite file; reads are answered from memory.

    Args:
        connection: The open file.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.executescript(_TABLE)
        rows = connection.execute("SELECT name, description, external_name, extension FROM groups")
        self._groups = {
            name: Group(name=name, description=text, external_name=external, extension=json.loads(extension))
            for name, text, external, extension in rows
        }
        if ADMIN_GROUP not in self._groups:
            acls = {"virtualClusters": [], "admin": True}
            self.save(Group(name=ADMIN_GROUP, description="admin's group", extension={"acls": acls}))
        self.ensure_for([DEFAULT_GROUP])

    def get(self, name: str) -> Group | None:
        """Return the group of this name."""
        return self._groups.get(name)

    def all(self) -> list[Group]:
        """Return all groups, by name."""
        return [self._groups[name] for name in sorted(self._groups)]

    def of(self, names: Iterable[str]) -> list[Group]:
        """Return the groups of these names that are there."""
        return [self._groups[name] for name in names if name in self._groups]

    def ensure_for(self, virtual_clusters: Iterable[str]) -> None:
        """Make the groups of virtual clusters that have none yet."""
        for name in virtual_clusters:
            if name not in self._groups:
                acls = {"virtualClusters": [name], "admin": False}
                self.save(Group(name=name, description=f"group for {name} vc", extension={"acls": acls}))

    def save(self, group: Group) -> None:
        """Keep a group, new or changed."""
        self._connection.execute(
            "INSERT OR REPLACE INTO groups VALUES (?, ?, ?, ?)",
            (group.name, group.description, group.external_name, json.dumps(group.extension)),
        )
        self._groups[group.name] = group

    def delete(self, name: str) -> None:
        """Forget a group."""
        self._connection.execute("DELETE FROM groups WHERE name = ?", (name,))
        del self._groups[name]
