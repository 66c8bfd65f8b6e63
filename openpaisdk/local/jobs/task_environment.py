# SPDX-License-Identifier: MIT
"""The variables that a task gets from this machine, beside those of the platform: an allow-list,
nothing else leaks in.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Mapping

_PASSED = frozenset(
    [
        "HOME",
        "LANG",
        "LANGUAGE",
        "TZ",
        "TERM",
        "USER",
        "LOGNAME",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE",
    ]
    + ["CURL_CA_BUNDLE", "NETRC", "LD_LIBRARY_PATH"]
    + [
        name
        for proxy in ("http", "https", "ftp", "all", "no")
        for name in (f"{proxy}_proxy", f"{proxy}_PROXY".upper())
    ]
)
_PASSED_PREFIXES = ("LC_", "PIP_", "UV_")
"""Locale, and where packages come from."""
_PATH_WITHOUT_ANY = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def passed_environment(environ: Mapping[str, str], pass_env: Iterable[str] = ()) -> dict[str, str]:
    """Return the server's variables that tasks may see: the allow-list, and those that ``pass_env`` names."""
    named = frozenset(pass_env)
    return {
        name: value
        for name, value in environ.items()
        if name in _PASSED or name in named or name.startswith(_PASSED_PREFIXES)
    }


def task_path(environ: Mapping[str, str], shims: str) -> str:
    """Return the ``PATH`` of tasks: first the folder where ``python`` and ``python3`` are this
    interpreter.
    """
    return f"{interpreter_folder(shims)}{os.pathsep}{environ.get('PATH') or _PATH_WITHOUT_ANY}"


def interpreter_folder(shims: str) -> str:
    """Return a folder in which ``python`` and ``python3`` both start this interpreter, making one if need be.

    Args:
        shims: Folder to write two small starters into when the interpreter's own folder lacks a name.
    """
    own = os.path.dirname(sys.executable)
    if all(_is_this_interpreter(os.path.join(own, name)) for name in ("python", "python3")):
        return own
    os.makedirs(shims, mode=0o700, exist_ok=True)
    for name in ("python", "python3"):
        path = os.path.join(shims, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\nexec '{sys.executable}' \"$@\"\n")
        os.chmod(path, stat.S_IRWXU)
    return shims


def _is_this_interpreter(path: str) -> bool:
    return os.path.realpath(path) == os.path.realpath(sys.executable)
