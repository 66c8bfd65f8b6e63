# SPDX-License-Identifier: MIT
"""``opai job validate``: what a cluster would say of a document, without one."""

from __future__ import annotations

from openpaisdk.cli.command import Command
from openpaisdk.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any

    from openpaisdk.cli.command import Context
    from openpaisdk.cli.layout import Show
    from openpaisdk.cli.parser import Parser

PROBLEM_KEYS = ("severity", "path", "message", "hint", "file", "line", "column")


class ValidateDocument(Command):
    """``opai job validate``."""

    details = "FILE is protocol v2 in YAML or JSON, - is stdin. Exit code 1 when there are errors."
    examples = ("opai job validate job.yaml", "opai job validate - -o json < job.yaml")

    def add_arguments(self, parser: Parser) -> None:
        """Declare the file."""
        parser.add_argument("file", metavar="FILE")

    def run(self, args: Namespace, context: Context) -> dict[str, Any]:
        """Return the warnings; errors are raised, all in one ``SpecError``."""
        from openpaisdk.cli.documents import read_document
        from openpaisdk.spec.validate import validate_text

        text, file = read_document(args.file)
        _, problems = validate_text(text, file=file)
        shown = [{key: problem.get(key) for key in PROBLEM_KEYS} for problem in problems]
        errors = [problem for problem in shown if problem["severity"] == "error"]
        if errors:
            count = "1 problem" if len(errors) == 1 else f"{len(errors)} problems"
            raise SpecError(f"job document {file or 'on stdin'!r} has {count}", problems=shown)
        return {"valid": True, "warnings": shown}

    def to_text(self, value: Any, *, width: int | None, paint: Show | None) -> str | None:
        """Show one problem a line, as compilers do."""
        lines = [_problem_line(problem) for problem in value.get("problems", value.get("warnings", []))]
        return "".join(lines) + ("valid\n" if value["valid"] else "")

    def value_of_error(self, error: BaseException) -> Any:
        """Return the report that goes to stdout although the document is not valid."""
        return {"valid": False, "problems": error.problems} if isinstance(error, SpecError) else None


def _problem_line(problem: dict[str, Any]) -> str:
    place = [str(problem[key]) for key in ("file", "line", "column") if problem.get(key) is not None]
    where = [":".join(place)] if place else []
    line = ": ".join([*where, problem["severity"], problem["path"] or "document", problem["message"]]) + "\n"
    return line + (f"  hint: {problem['hint']}\n" if problem.get("hint") else "")
