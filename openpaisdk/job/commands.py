# SPDX-License-Identifier: MIT
"""Shell text of a job's commands: words quoted, variables exported, secrets handed over as they are.

A cluster renders ``<% … %>`` before bash reads the text, and quotes nothing (protocol-v2 §5). Parameters are
inserted as they are, so a value with ``'`` would end a quoted word: such a word goes through a here-document.
Secrets are inserted HTML-escaped (§8): never with ``'``, so quotes hold, but changed; they are changed back.
"""

from __future__ import annotations

import re

from openpaisdk.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_SAFE = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
_TAG = re.compile(r"<%[^'%]*%>")
_PARAMETER = re.compile(r"<%\s*\$parameters\.([^.\[\s%']+)\s*%>")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED = re.compile(
    "if|then|elif|else|fi|case|esac|for|select|while|until|do|done|in|function|time|coproc"
)
HERE_END = "PAI_SDK_WORD_END"

SECRET_FUNCTION = """\
paisdk_secret() {  # a cluster writes secrets HTML-escaped: turn them back
  local text=$2 amp='&' lt='<' gt='>' double='"' single="'"
  text=${text//"&lt;"/"$lt"}; text=${text//"&gt;"/"$gt"}
  text=${text//"&quot;"/"$double"}; text=${text//"&#x27;"/"$single"}; text=${text//"&#39;"/"$single"}
  text=${text//"&amp;"/"$amp"}
  export "$1=$text"
}"""


def quote(text: str) -> str:
    """Return ``text`` as one word of bash, exactly; ``<% … %>`` in it is still rendered by the cluster."""
    _refuse_nul(text)
    return text if _SAFE.fullmatch(text) else "'" + _escape_outside_tags(text) + "'"


def _escape_outside_tags(text: str) -> str:
    # a tag itself never holds a quote (see _TAG), so only the text needs escaping
    return text.replace("'", "'\\''")


def _refuse_nul(text: str) -> None:
    if "\0" in text:
        raise UsageError("a command cannot hold a NUL character")


def command_lines(words: Sequence[str], parameters: Mapping[str, Any] | None = None) -> str:
    """Return the shell text that runs a command.

    One word is a shell command line and is taken as it is. Several are an argument list: each is quoted.

    Raises:
        UsageError: There are no words, or the only one is empty.
    """
    if not words or (len(words) == 1 and not words[0].strip()):
        raise UsageError("the command is empty", hint="give its words, or a shell command line in quotes")
    if len(words) == 1:
        _refuse_nul(words[0])
        return words[0]
    before: list[str] = []
    line: list[str] = []
    for position, word in enumerate(words):
        if _needs_here_document(word, parameters or {}):
            variable = f"paisdk_word_{position}"
            before.append(here_document(variable, word))
            line.append(f'"${variable}"')
        elif position == 0 and ("=" in word or _RESERVED.fullmatch(word)):
            # bash would take it for an assignment or for grammar
            line.append("'" + word.replace("'", "'\\''") + "'")
        else:
            line.append(quote(word))
    return "\n".join([*before, " ".join(line)])


def here_document(variable: str, text: str) -> str:
    """Return shell text that sets ``variable`` to ``text``, whatever a cluster renders into it."""
    _refuse_nul(text)
    return (
        f"IFS= read -r -d '' {variable} <<'{HERE_END}' || true\n{text}\n{HERE_END}\n"
        f"{variable}=${{{variable}%$'\\n'}}"
    )


def _needs_here_document(word: str, parameters: Mapping[str, Any]) -> bool:
    """Whether rendering may put a ``'`` into ``word``; what is not known is not trusted."""
    for tag in _TAG.findall(word):
        if "$secrets" in tag:
            continue
        match = _PARAMETER.fullmatch(tag)
        value = parameters.get(match[1]) if match else None
        if not isinstance(value, (int, float, str)) or "'" in str(value):
            return True
    return False


def export_lines(
    environment: Mapping[str, str], secrets: Sequence[str] = (), parameters: Mapping[str, Any] | None = None
) -> list[str]:
    """Return one command per variable: plain ones with their value, secrets by reference.

    Raises:
        UsageError: A name is not the name of a shell variable.
    """
    lines = []
    for name, value in environment.items():
        check_variable(name)
        text = str(value)
        if _needs_here_document(text, parameters or {}):
            lines.append(f"{here_document(name, text)}\nexport {name}")
        else:
            lines.append(f"export {name}={quote(text)}")
    if secrets:
        lines.append(SECRET_FUNCTION)
        for name in secrets:
            check_variable(name)
            lines.append(f"paisdk_secret {name} '<% $secrets.{name} %>'")
    return lines


def is_export(command: str) -> bool:
    """Whether a command only sets a variable, in one of the forms of ``export_lines``."""
    if command == SECRET_FUNCTION:
        return True
    lines = command.split("\n")
    if lines[0].startswith("IFS= read ") and lines[0].endswith(f"<<'{HERE_END}' || true"):
        return lines[-1].startswith("export ")
    return command.startswith(("export ", "paisdk_secret "))


def check_variable(name: str) -> None:
    """Raise ``UsageError`` unless ``name`` can be the name of an environment variable."""
    if not _VARIABLE.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a variable",
            hint="it may hold letters, digits and '_'",
        )


def named_paths(words: Sequence[str]) -> list[str]:
    """Return the relative paths that a command may name, in order: words, and what follows ``=`` in them."""
    if len(words) == 1:
        import shlex

        try:
            words = shlex.split(words[0], comments=False)
        except ValueError:
            words = words[0].split()
    found: dict[str, None] = {}
    for word in words:
        for part in (word, word.partition("=")[2]):
            candidate = part.strip("<>;&|()")
            if candidate.startswith(("/", "~")) or "<%" in candidate or "\0" in candidate:
                continue
            normal = _normalised(candidate)
            if normal:
                found[normal] = None
    return list(found)


def _normalised(path: str) -> str | None:
    """Return a relative path without ``.`` and ``..``, or ``None`` when it leaves the folder."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts) or None
