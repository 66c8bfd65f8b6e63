# SPDX-License-Identifier: MIT
"""The clusters a user knows, by alias, with what is needed to reach and enter them (spec: cli "Settings")."""

from __future__ import annotations

import os

from openpaisdk._files import home_folder, read_json, replace_json
from openpaisdk._secret import MASK
from openpaisdk.constants import CLUSTERS_FILE, CLUSTERS_FILE_YAML, LOCAL_ALIAS
from openpaisdk.errors import ConfigError, UnknownClusterError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_EARLIER_NAMES = {"password": "passwd", "cluster_alias": "alias"}
_SECRET_KEYS = ("passwd", "token", "password", "secret", "key", "credential")


class ClusterBook:
    """Aliases and entries of ``clusters.json``, and of ``clusters.yaml`` beside it; the JSON file wins.

    ``warnings`` holds what the user should be told, such as a file of passwords that others can read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.warnings: list[str] = []
        self._written: dict[str, dict[str, Any]] = {}
        self._earlier: dict[str, dict[str, Any]] = {}

    def __repr__(self) -> str:
        return f"<ClusterBook {self.path!r} {self.aliases()}>"

    @classmethod
    def load(cls, path: str | None = None) -> ClusterBook:
        """Read the clusters file, by default the one in the home folder; none there is an empty book.

        Raises:
            ConfigError: A file cannot be read, or does not hold clusters.
        """
        if path is None:
            path = os.path.join(home_folder(), CLUSTERS_FILE)
        elif path.endswith((".yaml", ".yml")):
            book = cls(os.path.join(os.path.dirname(path), CLUSTERS_FILE))
            book._earlier = book._read_yaml(path)
            return book
        book = cls(path)
        book._written = _entries(read_json(path, default={}) if book._checked(path) else {}, path)
        yaml_path = os.path.join(os.path.dirname(path), CLUSTERS_FILE_YAML)
        if os.path.exists(yaml_path):
            book._earlier = book._read_yaml(yaml_path)
        return book

    def aliases(self) -> list[str]:
        """Return every alias that can be used; ``local`` is the last unless it was defined."""
        found = self.defined()
        return found if LOCAL_ALIAS in found else [*found, LOCAL_ALIAS]

    def defined(self) -> list[str]:
        """Return the aliases that the user defined."""
        return list({**self._earlier, **self._written})

    def get(self, alias: str) -> dict[str, Any]:
        """Return the entry of a cluster; that of ``local`` is empty unless it was defined.

        Raises:
            UnknownClusterError: No cluster has this alias.
        """
        entry = self._written.get(alias) or self._earlier.get(alias)
        if entry is not None:
            return dict(entry)
        if alias == LOCAL_ALIAS:
            return {}
        raise self._unknown(alias)

    def choose(self, alias: str | None) -> str:
        """Return ``alias`` if it is known; ``None`` stands for the only cluster defined, else ``local``.

        Raises:
            ConfigError: None was asked for, and several are defined.
            UnknownClusterError: No cluster has this alias.
        """
        if alias is not None:
            self.get(alias)
            return alias
        # an entry of the embedded cluster that only keeps storages for it defines no other cluster
        defined = [name for name in self.defined() if name != LOCAL_ALIAS or self.get(name).get("pai_uri")]
        if len(defined) > 1:
            raise ConfigError(
                f"several clusters are defined ({', '.join(defined)}) and none is the default",
                hint="name one with -a, or make it the default with opai cluster select",
            )
        return defined[0] if defined else LOCAL_ALIAS

    def add(self, alias: str, entry: Mapping[str, Any], replace: bool = False) -> None:
        """Store a cluster under an alias that is free, or any for ``replace``.

        Raises:
            ConfigError: The alias is taken or not usable, or the file cannot be written.
        """
        if not alias or alias != alias.strip() or "/" in alias or alias.startswith("-"):
            raise ConfigError(
                f"{alias!r} cannot be an alias: expected a word without '/' that does not begin with '-'"
            )
        if not replace and alias in self.defined():
            raise ConfigError(
                f"there is already a cluster {alias!r}", hint=f"opai cluster remove {alias} makes room for it"
            )
        self._written[alias] = {key: value for key, value in entry.items() if value is not None}
        self._save()

    def update(self, alias: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change an entry key by key, ``None`` takes a key away; return the new entry.

        Raises:
            UnknownClusterError: No cluster has this alias.
            ConfigError: The file cannot be written.
        """
        entry = {**self.get(alias), **changes}
        self.add(alias, entry, replace=True)
        return dict(self._written[alias])

    def remove(self, alias: str) -> None:
        """Forget a cluster.

        Raises:
            UnknownClusterError: No cluster was defined under this alias.
            ConfigError: It stands in the file of the earlier SDK, which is not written to.
        """
        if alias not in self.defined():
            raise self._unknown(alias)
        if alias in self._earlier:
            raise ConfigError(
                f"{alias!r} is defined in {CLUSTERS_FILE_YAML}, the file of the earlier SDK",
                hint="remove it there",
            )
        del self._written[alias]
        self._save()

    def masked(self) -> list[dict[str, Any]]:
        """Return every cluster with its alias, its secrets replaced by ``***``."""
        found = []
        for alias in self.aliases():
            entry = self.get(alias)
            item = {"alias": alias, "pai_uri": entry.pop("pai_uri", None), "user": entry.pop("user", None)}
            found.append({**item, **_masked(entry)})
        return found

    def _save(self) -> None:
        replace_json(self.path, self._written, mode=0o600)

    def _checked(self, path: str) -> bool:
        """Tell whether there is such a file, and warn when others can read it."""
        try:
            mode = os.stat(path).st_mode & 0o777
        except OSError:
            return False
        if mode & 0o077 and os.name == "posix":
            self.warnings.append(f"{path} can be read by others (mode {mode:04o}); chmod 600 {path}")
        return True

    def _read_yaml(self, path: str) -> dict[str, dict[str, Any]]:
        import yaml

        self._checked(path)
        try:
            with open(path, encoding="utf-8") as file:
                value = yaml.safe_load(file)
        except FileNotFoundError:
            return {}
        except OSError as exc:
            raise ConfigError(f"cannot read {path!r}: {exc.strerror}") from exc
        except (yaml.YAMLError, UnicodeDecodeError) as exc:
            mark = getattr(exc, "problem_mark", None)
            place = f" (line {mark.line + 1})" if mark is not None else ""
            raise ConfigError(
                f"{path!r} is not valid YAML{place}", hint="mend the file or move it away"
            ) from exc
        return _entries(value or {}, path)

    def _unknown(self, alias: str) -> UnknownClusterError:
        from openpaisdk.spec.names import nearest

        guess = nearest(alias, self.aliases())
        hint = f"did you mean {guess!r}?" if guess else "opai cluster list shows those there are"
        return UnknownClusterError(
            f"there is no cluster {alias!r} (known: {', '.join(self.aliases())})", hint=hint
        )


def _entries(value: Any, path: str) -> dict[str, dict[str, Any]]:
    """Return entries by alias from a mapping, or from the list of the earlier SDK."""
    if isinstance(value, list):
        items = [(item.get("cluster_alias"), item) for item in value if isinstance(item, dict)]
        is_valid = len(items) == len(value) and all(isinstance(alias, str) and alias for alias, _ in items)
    elif isinstance(value, dict):
        items = list(value.items())
        is_valid = all(isinstance(item, dict) for _, item in items)
    else:
        items, is_valid = [], False
    if not is_valid:
        raise ConfigError(
            f"{path!r} does not hold clusters", hint='expected {"<alias>": {"pai_uri": "…", "user": "…"}}'
        )
    return {str(alias): _normal(item) for alias, item in items}


def _normal(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry under today's names; what the earlier SDK left empty is left out."""
    entry = {_EARLIER_NAMES.get(key, key): value for key, value in item.items() if value is not None}
    entry.pop("alias", None)
    storages = entry.get("storages")
    if "hdfs_web_uri" not in entry and isinstance(storages, dict):
        uri = _earlier_web_uri(storages.get("builtin"))
        if uri is not None:
            entry["hdfs_web_uri"] = uri
    return entry


def _earlier_web_uri(storage: Any) -> str | None:
    """Return the WebHDFS address of the earlier SDK's ``{protocol, uri, ports: {webhdfs: …}}``."""
    if not isinstance(storage, dict) or "hdfs" not in str(storage.get("protocol", "")).lower():
        return None
    uri = storage.get("web_hdfs_uri") or storage.get("uri")
    if not isinstance(uri, str) or not uri.startswith(("http://", "https://")):
        return None
    ports = storage.get("ports")
    if not isinstance(ports, dict):
        return uri
    by_name = {str(name).lower(): port for name, port in ports.items()}
    port = by_name.get("webhdfs")
    if port is None:
        return uri
    separator = "" if str(port).startswith("/") else ":"
    return f"{uri.rstrip('/')}{separator}{port}"


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: MASK if item and any(word in str(key).lower() for word in _SECRET_KEYS) else _masked(item)
            for key, item in value.items()
        }
    return [_masked(item) for item in value] if isinstance(value, list) else value
