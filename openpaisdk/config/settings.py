# SPDX-License-Identifier: MIT
"""Defaults that a user sets once: environment over project over home over built-in (spec: cli "Settings")."""

from __future__ import annotations

import os

from openpaisdk._files import home_folder, read_json, replace_json
from openpaisdk.constants import DEFAULTS_FILE, HOME_FOLDER, SETTING_PREFIX
from openpaisdk.errors import ConfigError, UnknownSettingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

BUILT_IN: dict[str, Any] = {
    "cluster-alias": None,
    "image": "python:3.11",
    "workspace": None,
    "virtual-cluster": "default",
    "user": None,
    "cpu": 1,
    "gpu": 0,
    "mem": "1g",
    "format": "table",
    "sdk-install": True,
}
"""Every setting and its value when nobody set it; ``workspace`` is then ``/user/<user>`` of the cluster."""

BUILT_IN_ORIGIN = "built-in"
FORMATS = ("table", "json", "yaml")
_YES = frozenset(("1", "true", "yes", "on"))
_NO = frozenset(("0", "false", "no", "off"))


class Settings:
    """The layers of settings as they were when loaded; ``warnings`` holds what the user should be told.

    Args:
        environ: Environment variables.
        project: Folder of the project's settings, or ``None`` where there is none.
        start: The working directory.
    """

    def __init__(
        self, environ: Mapping[str, str], project: str | None, start: str, warnings: list[str]
    ) -> None:
        self.warnings = warnings
        self._environ = environ
        self._project = project
        self._start = start
        self._files: list[tuple[str, dict[str, Any]]] = []
        for folder in (project, home_folder()):
            if folder is not None:
                path = os.path.join(folder, DEFAULTS_FILE)
                self._files.append((path, self._read(path)))

    @classmethod
    def load(cls, start: str | None = None, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings that hold for the folder ``start``, by default the working directory.

        Raises:
            ConfigError: A file of settings is not valid JSON.
        """
        folder = os.path.abspath(os.getcwd() if start is None else start)
        warnings: list[str] = []
        project = _find_project(folder, warnings)
        return cls(os.environ if environ is None else environ, project, folder, warnings)

    def get(self, name: str) -> Any:
        """Return a setting in its type: ``cpu`` and ``gpu`` int, ``sdk-install`` bool, others text.

        Raises:
            UnknownSettingError: There is no such setting.
            ConfigError: The value that was set makes no sense.
        """
        return self._look_up(name)[0]

    def describe(self) -> list[dict[str, Any]]:
        """Return every setting that has a value, with the variable or file that it comes from."""
        found = []
        for name in BUILT_IN:
            value, origin = self._look_up(name)
            if name == "workspace" and value is None:
                value = "/user/<user>"
            if value is not None:
                found.append({"name": name, "value": value, "origin": origin})
        return found

    def project_folder(self) -> str:
        """Return the nearest ``.openpai`` folder, else the working directory's, which need not exist yet."""
        return self._project or os.path.join(self._start, HOME_FOLDER)

    def set(self, pairs: Mapping[str, Any], everywhere: bool = False) -> list[dict[str, Any]]:
        """Write settings to the project's file, or to the home's for ``everywhere``; return what was written.

        Raises:
            UnknownSettingError: One of the names is not a setting; nothing was written then.
            ConfigError: A value makes no sense, or the file cannot be written.
        """
        values = {
            check_name(name): parse_setting(name, value, "the command line") for name, value in pairs.items()
        }
        path = self._file_to_write(everywhere)
        replace_json(path, {**self._read(path), **values})
        self._reload(path)
        return [{"name": name, "value": value, "origin": path} for name, value in values.items()]

    def remove(self, name: str, everywhere: bool = False) -> None:
        """Take a setting out of the project's file, or out of the home's for ``everywhere``.

        Raises:
            UnknownSettingError: There is no such setting.
            ConfigError: That file does not set it.
        """
        check_name(name)
        path = self._file_to_write(everywhere)
        values = self._read(path)
        if name not in values:
            origin = self._look_up(name)[1]
            hint = None if origin == BUILT_IN_ORIGIN else f"its value comes from {origin}"
            raise ConfigError(f"{name!r} is not set in {path!r}", hint=hint)
        del values[name]
        replace_json(path, values)
        self._reload(path)

    def _look_up(self, name: str) -> tuple[Any, str]:
        check_name(name)
        variable = SETTING_PREFIX + name.upper().replace("-", "_")
        text = self._environ.get(variable)
        if text:
            return parse_setting(name, text, variable), variable
        for path, values in self._files:
            if values.get(name) is not None:
                return parse_setting(name, values[name], path), path
        return BUILT_IN[name], BUILT_IN_ORIGIN

    def _read(self, path: str) -> dict[str, Any]:
        values = read_json(path, default={})
        if not isinstance(values, dict):
            raise ConfigError(
                f"{path!r} does not hold an object of settings", hint="mend the file or move it away"
            )
        for name in values:
            if name not in BUILT_IN:
                warning = f"{path}: {_unknown(name)}"
                if warning not in self.warnings:
                    self.warnings.append(warning)
        return values

    def _file_to_write(self, everywhere: bool) -> str:
        folder = home_folder() if everywhere else self.project_folder()
        if not everywhere and not _is_ours(folder):
            raise ConfigError(
                f"{folder!r} belongs to another user", hint="work in a folder of your own, or use --global"
            )
        return os.path.join(folder, DEFAULTS_FILE)

    def _reload(self, path: str) -> None:
        known = [at for at, _ in self._files]
        if path in known:
            self._files[known.index(path)] = (path, self._read(path))
        else:
            self._project = os.path.dirname(path)
            self._files.insert(0, (path, self._read(path)))


def check_name(name: str) -> str:
    """Return ``name`` when it is the name of a setting.

    Raises:
        UnknownSettingError: It is not; the hint is the nearest that is.
    """
    if name in BUILT_IN:
        return name
    raise UnknownSettingError(_unknown(name), hint=f"known settings: {', '.join(BUILT_IN)}")


def parse_setting(name: str, value: Any, origin: str) -> Any:
    """Return ``value`` in the type of the setting ``name``.

    Raises:
        ConfigError: The value makes no sense for it.
    """
    if name in ("cpu", "gpu"):
        return _parse_count(name, value, origin)
    if name == "sdk-install":
        word = str(value).lower()
        if word not in _YES and word not in _NO:
            raise _nonsense(name, value, origin, "on or off")
        return word in _YES
    if not isinstance(value, (str, int)) or isinstance(value, bool) or str(value) == "":
        raise _nonsense(name, value, origin, "a text")
    text = str(value)
    if name == "format" and text not in FORMATS:
        raise _nonsense(name, value, origin, " or ".join(FORMATS))
    if name == "mem":
        _check_memory(text, origin)
    if name == "workspace" and not text.startswith("/"):
        raise _nonsense(name, value, origin, "a path from the root, such as /user/alice")
    return text


def _parse_count(name: str, value: Any, origin: str) -> int:
    least = 1 if name == "cpu" else 0
    try:
        count = int(str(value))
    except ValueError:
        count = -1
    if count < least or isinstance(value, bool):
        raise _nonsense(name, value, origin, f"a whole number, at least {least}")
    return count


def _check_memory(text: str, origin: str) -> None:
    from openpaisdk.errors import UsageError
    from openpaisdk.spec.names import parse_memory_mb

    try:
        parse_memory_mb(text)
    except UsageError as exc:
        raise ConfigError(f"setting 'mem' from {origin}: {exc.message}", hint=exc.hint) from exc


def _nonsense(name: str, value: Any, origin: str, wanted: str) -> ConfigError:
    return ConfigError(f"setting {name!r} from {origin}: expected {wanted}, got {value!r}")


def _unknown(name: str) -> str:
    from openpaisdk.spec.names import nearest

    guess = nearest(name, BUILT_IN)
    return f"there is no setting {name!r}" + (f"; did you mean {guess!r}?" if guess else "")


def _find_project(start: str, warnings: list[str]) -> str | None:
    """Return the nearest ``.openpai`` folder from ``start`` up to the root of the project.

    The search ends below the home folder, whose own is not a project, and at the root of a git repository.
    """
    home = os.path.expanduser("~")
    home_settings = os.path.abspath(home_folder())
    folder = start
    while folder != home:
        candidate = os.path.join(folder, HOME_FOLDER)
        if candidate != home_settings and os.path.isdir(candidate):
            if _is_ours(candidate):
                return candidate
            warnings.append(f"settings in {candidate!r} are not used: the folder belongs to another user")
        parent = os.path.dirname(folder)
        if parent == folder or os.path.exists(os.path.join(folder, ".git")):
            break
        folder = parent
    return None


def _is_ours(folder: str) -> bool:
    """Tell whether the folder, and a link to it, are this user's; a missing one is nobody's yet."""
    if not hasattr(os, "geteuid"):
        return True
    try:
        return os.lstat(folder).st_uid == os.geteuid() == os.stat(folder).st_uid
    except OSError:
        return True
