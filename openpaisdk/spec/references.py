# SPDX-License-Identifier: MIT
"""Resolve ``<% $parameters.x %>`` exactly as a real cluster does (protocol-v2 §5 and §8).

The server reads templates with a mustache tokenizer and uses only its text and its plain variables; numbers
and lists become text as JavaScript writes them.
"""

from __future__ import annotations

import datetime
import math
import re

from openpaisdk.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

SPACE = "\t\n\v\f\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
"""What JavaScript takes for white space, for use inside the brackets of a regular expression."""
_SPACES = SPACE.replace("-", "\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009")

_KIND = re.compile(r"[#^/>{&=!]")
_BLANKS = re.compile(f"[{SPACE}]*")
_EQUALS = re.compile(f"[{SPACE}]*=")
_CURLY = re.compile(f"[{SPACE}]*}}")
_SEPARATOR = re.compile(f"[{SPACE}]+")
_INDEX = re.compile(r"\[([0-9]+)\]")
_CANONICAL_INDEX = re.compile(r"0|[1-9][0-9]*")
_MISSING = object()


class TemplateError(SpecError):
    """A template cannot be parsed; the message is the server's."""


def trim(text: str) -> str:
    """Return ``text`` without white space at both ends, as JavaScript's ``trim`` does."""
    return text.strip(_SPACES)


# --- the tokenizer -----------------------------------------------------------------------------
def parse_template(template: str) -> list[tuple[str, str]]:
    """Return the pieces of a template as pairs of kind and text: ``"text"``, ``"name"`` or ``"&"``.

    Comments, partials and sections with all that is in them are left out, as the server leaves them out.

    Raises:
        TemplateError: A tag or a section has no end, or an end has no beginning.
    """
    if "<%" not in template:
        return [("text", template)] if template else []
    return _Tokenizer(template).run()


class _Tokenizer:
    """One pass over a template; positions in messages count UTF-16 units, as JavaScript does."""

    def __init__(self, template: str) -> None:
        self.template = template
        self.position = 0
        self.tokens: list[tuple[str, str] | None] = []
        self.sections: list[str] = []
        self.blanks: list[int] = []
        self.line_has_tag = False
        self.line_has_content = False
        self._use_delimiters("<%", "%>")

    def run(self) -> list[tuple[str, str]]:
        while self.position < len(self.template):
            start = self._read_text()
            if start is None:
                break
            self._read_tag(start)
        if self.sections:
            raise self._error(f'Unclosed section "{self.sections[-1]}" at', self.position)
        return [token for token in self.tokens if token is not None]

    def _use_delimiters(self, opening: str, closing: str) -> None:
        self.opening = re.compile(f"{re.escape(opening)}[{SPACE}]*")
        self.closing = re.compile(f"[{SPACE}]*{re.escape(closing)}")
        self.closing_curly = re.compile(f"[{SPACE}]*{re.escape('}' + closing)}")

    def _error(self, text: str, position: int) -> TemplateError:
        units = len(self.template[:position].encode("utf-16-le", "surrogatepass")) // 2
        return TemplateError(f"{text} {units}")

    def _read_text(self) -> int | None:
        """Take the text up to the next tag and return where that begins, or ``None`` at the end."""
        found = self.opening.search(self.template, self.position)
        end = found.start() if found else len(self.template)
        for piece in re.split(r"(?<=\n)", self.template[self.position : end]):
            if not piece:
                continue
            if piece.strip(_SPACES):
                self.line_has_content = True
            else:
                self.blanks.append(len(self.tokens))
            self._add("text", piece)
            if piece[-1] == "\n":
                self._end_line()
        self.position = found.end() if found else end
        return end if found else None

    def _end_line(self) -> None:
        """Drop the blanks of a line on which tags that show nothing stand alone."""
        if self.line_has_tag and not self.line_has_content:
            for index in self.blanks:
                self.tokens[index] = None
        self.blanks.clear()
        self.line_has_tag = self.line_has_content = False

    def _add(self, kind: str, text: str) -> None:
        self.tokens.append(None if self.sections else (kind, text))

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        match = pattern.match(self.template, self.position)
        if match:
            self.position = match.end()
        return match is not None

    def _take_until(self, pattern: re.Pattern[str]) -> str:
        found = pattern.search(self.template, self.position)
        start, self.position = self.position, found.start() if found else len(self.template)
        return self.template[start : self.position]

    def _read_tag(self, start: int) -> None:
        self.line_has_tag = True
        kind = self.template[self.position : self.position + 1]
        if _KIND.match(kind):
            self.position += 1
        else:
            kind = "name"
        self._skip(_BLANKS)
        if kind == "=":
            value = self._take_until(_EQUALS)
            self._skip(_EQUALS)
            self._take_until(self.closing)
        elif kind == "{":
            value = self._take_until(self.closing_curly)
            self._skip(_CURLY)
            self._take_until(self.closing)
            kind = "&"
        else:
            value = self._take_until(self.closing)
        if not self._skip(self.closing):
            raise self._error("Unclosed tag at", self.position)
        self._use_tag(kind, value, start)

    def _use_tag(self, kind: str, value: str, start: int) -> None:
        if kind in "#^":
            self.sections.append(value)
        elif kind == "/":
            if not self.sections:
                raise self._error(f'Unopened section "{value}" at', start)
            opened = self.sections.pop()
            if opened != value:
                raise self._error(f'Unclosed section "{opened}" at', start)
        elif kind in ("name", "&"):
            self.line_has_content = True
            self._add(kind, value)
        elif kind == "=":
            pair = _SEPARATOR.split(value)[:2]
            if len(pair) != 2:
                raise TemplateError(f"Invalid tags: {','.join(pair)}")
            self._use_delimiters(*pair)


# --- values as JavaScript sees them ------------------------------------------------------------
def javascript_number(value: float) -> str:
    """Return a number as JavaScript writes it: ``1.5``, ``1e-7``, ``12345678901234567000``, ``Infinity``."""
    try:
        number = float(value)
    except OverflowError:
        number = math.inf if value > 0 else -math.inf
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    if number == 0:
        return "0"
    sign = "-" if number < 0 else ""
    mantissa, _, exponent = f"{abs(number)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    point = len(whole) + int(exponent or 0)
    digits = (whole + fraction).lstrip("0")
    point -= len(whole + fraction) - len(digits)
    return sign + _place_point(digits.rstrip("0"), point)


def _place_point(digits: str, point: int) -> str:
    """Write decimal ``digits`` whose decimal point stands after ``point`` of them."""
    if len(digits) <= point <= 21:
        return digits.ljust(point, "0")
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"0.{'0' * -point}{digits}"
    mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
    return f"{mantissa}e{point - 1:+d}"


def javascript_text(value: Any) -> str:
    """Return the text that JavaScript makes of a value when it is added to a string."""
    return value if isinstance(value, str) else _text(value, ())


def _text(value: Any, parents: tuple[int, ...]) -> str:
    text = "[object Object]"
    if isinstance(value, str):
        text = value
    elif value is None:
        text = "null"
    elif isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, (int, float)):
        text = javascript_number(value)
    elif isinstance(value, (list, tuple)):
        text = ""  # of a list within itself
        if id(value) not in parents:
            inside = (*parents, id(value))
            text = ",".join("" if item is None else _text(item, inside) for item in value)
    elif isinstance(value, datetime.datetime):
        text = _moment_text(value.astimezone(datetime.timezone.utc))
    elif isinstance(value, bytes):
        text = value.decode("utf-8", "replace")
    return text


def _moment_text(moment: datetime.datetime) -> str:
    day, month = _DAYS[moment.weekday()], _MONTHS[moment.month - 1]
    clock = f"{moment.hour:02d}:{moment.minute:02d}:{moment.second:02d}"
    return f"{day} {month} {moment.day:02d} {moment.year:04d} {clock} GMT+0000 (Coordinated Universal Time)"


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _member(value: Any, key: str) -> Any:
    """Return the own member ``key`` of a value, or ``_MISSING``; inherited ones do not count."""
    if isinstance(value, dict):
        return value.get(key, _MISSING)
    if not isinstance(value, (list, tuple, str, bytes)):
        return _MISSING
    if isinstance(value, str) and not value.isascii():
        units = value.encode("utf-16-le", "surrogatepass")
        value = [units[at : at + 2].decode("utf-16-le", "surrogatepass") for at in range(0, len(units), 2)]
    if key == "length":
        return len(value)
    if _CANONICAL_INDEX.fullmatch(key) and len(key) < 11 and int(key) < len(value):
        return value[int(key)]
    return _MISSING


def as_mapping(value: Any) -> Mapping[str, Any]:
    """Return ``value``, or an empty mapping for what only JavaScript calls an object, such as a moment."""
    return value if isinstance(value, dict) else {}


def look_up(scope: Mapping[str, Any], path: str) -> Any:
    """Return what ``path`` (``$parameters.a.0``) names in ``scope``, or ``None`` when it names nothing."""
    if path == ".":
        return scope
    value: Any = scope
    for key in path.split(".") if path.find(".") > 0 else (path,):
        value = _member(value, key)
        if value is _MISSING or value is None:
            return None
    return value


# --- rendering ---------------------------------------------------------------------------------
def render(template: str, scope: Mapping[str, Any]) -> str:
    """Return ``template`` with the references into ``scope`` replaced; those to nothing stay, normalized.

    Raises:
        TemplateError: The template cannot be parsed.
    """
    pieces = []
    for kind, text in parse_template(template):
        if kind == "text":
            pieces.append(text)
        elif kind == "name":
            path = _INDEX.sub(r".\1", text)
            value = look_up(scope, path)
            pieces.append(f"<% {path} %>" if value is None else javascript_text(value))
    return trim("".join(pieces))


def list_references(template: str) -> list[str]:
    """Return the normalized paths of the plain variables in a template.

    Raises:
        TemplateError: The template cannot be parsed.
    """
    return [_INDEX.sub(r".\1", text) for kind, text in parse_template(template) if kind == "name"]


def join_commands(document: Mapping[str, Any], role_name: str) -> str:
    """Return the commands of a role, with those of the selected deployment around them, not rendered yet."""
    commands = list(document["taskRoles"][role_name]["commands"])
    selected = as_mapping(document.get("defaults")).get("deployment")
    for deployment in document.get("deployments", ()):
        if selected is not None and deployment["name"] == selected:
            around = as_mapping(as_mapping(deployment["taskRoles"]).get(role_name))
            commands = [*around.get("preCommands", ()), *commands, *around.get("postCommands", ())]
    return "\n".join(map(trim, commands))


def command_scope(document: Mapping[str, Any], role_name: str) -> dict[str, Any]:
    """Return what references in a role's commands can see: parameters, and the prerequisites it selects."""
    scope = {"$parameters": document["parameters"]} if "parameters" in document else {}
    role = document["taskRoles"][role_name]
    for item in document.get("prerequisites", ()):
        kind = item["type"]
        if kind in ("script", "output", "data") and role.get(kind) == item["name"]:
            scope[f"${kind}"] = item
    return scope


def render_commands(document: Mapping[str, Any], role_name: str) -> str:
    """Return the entrypoint of a role in a valid document; references to secrets are left (protocol-v2 §5).

    Raises:
        TemplateError: A template cannot be parsed.
    """
    commands = join_commands(document, role_name)
    if "<%" not in commands:
        return trim(commands)
    return render(commands, command_scope(document, role_name))


def render_auth(document: Mapping[str, Any], image_name: str) -> dict[str, str] | None:
    """Return the credentials of a docker image with their secrets put in, or ``None`` when it has none.

    Raises:
        TemplateError: A template cannot be parsed, or a value is no text.
    """
    scope = {"$secrets": document["secrets"]} if "secrets" in document else {}
    for item in document.get("prerequisites", ()):
        if item["type"] == "dockerimage" and item["name"] == image_name and "auth" in item:
            given = {key: _render_auth_value(value, scope) for key, value in as_mapping(item["auth"]).items()}
            defaults = {"username": "", "password": "", "registryuri": "https://index.docker.io/v1/"}
            return {**defaults, **given}
    return None


def _render_auth_value(value: Any, scope: Mapping[str, Any]) -> str:
    if isinstance(value, str):
        return render(value, scope)
    if (
        value is None
        or value is False
        or (isinstance(value, (int, float)) and (value == 0 or math.isnan(value)))
    ):
        return ""  # the server's tokenizer takes all that JavaScript calls false for an empty template
    raise TemplateError("this.tail.search is not a function")


def render_secrets(entrypoint: str, secrets: Mapping[str, Any]) -> str:
    """Return ``entrypoint`` as the shell gets it, with secrets put in and HTML-escaped (protocol-v2 §8).

    A reference to anything else becomes an empty text. Without ``secrets`` nothing is changed.

    Raises:
        TemplateError: The text cannot be parsed as a template.
    """
    if not secrets or "<%" not in entrypoint:
        return entrypoint
    return "".join(_render_in_container(entrypoint, {"$secrets": secrets}))


def _render_in_container(entrypoint: str, scope: Mapping[str, Any]) -> Iterator[str]:
    for kind, text in parse_template(entrypoint):
        if kind == "text":
            yield text
            continue
        path = _INDEX.sub(r".\1", text)
        value: Any = scope
        for key in path.split("."):
            value = _member(value, key)
        shown = "" if value is _MISSING else _python_text(value)
        yield shown if kind == "&" else escape_html(shown)


def escape_html(text: str) -> str:
    """Return ``text`` with the five characters replaced that the container replaces in secrets."""
    return text.translate(_HTML)


_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"})


def _python_text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return str(int(value))  # the secrets travel as JSON-like text, in which 2.0 is written 2
    return str(value)
