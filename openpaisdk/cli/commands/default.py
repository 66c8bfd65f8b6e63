# SPDX-License-Identifier: MIT
"""``opai default``: what commands use when an option is left out."""

from __future__ import annotations

from openpaisdk.cli.command import Command
from openpaisdk.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any

    from openpaisdk.cli.command import Context
    from openpaisdk.cli.parser import Parser

_COLUMNS = (("NAME", "name"), ("VALUE", "value"), ("ORIGIN", "origin"))


class AddDefaults(Command):
    """``opai default add``."""

    details = "They are kept in .openpai/defaults.json of the project, with --global in that of your home."
    examples = ("opai default add image=python:3.12 mem=4g", "opai default add --global cluster-alias=prod")
    columns = _COLUMNS

    def add_arguments(self, parser: Parser) -> None:
        """Declare the names with their values."""
        parser.add_argument(
            "pairs", metavar="K=V", nargs="+", help="name and value; `opai default list` has the names"
        )
        parser.add_argument("--global", dest="everywhere", action="store_true", help="for all your projects")

    def run(self, args: Namespace, context: Context) -> list[dict[str, Any]]:
        """Keep the values; return them as they now apply."""
        pairs = {}
        for text in args.pairs:
            name, equals, value = text.partition("=")
            if not equals or not name:
                raise UsageError(
                    f"expected NAME=VALUE, got {text!r}", hint="opai default add image=python:3.12"
                )
            pairs[name] = value
        written = context.settings.set(pairs, everywhere=args.everywhere)
        for setting in written:
            _tell_winner(context, setting)
        return written


class ListDefaults(Command):
    """``opai default list``."""

    details = "An option goes before a PAI_SDK_<NAME> variable, then come the project and your home."
    examples = ("opai default list",)
    columns = _COLUMNS

    def run(self, args: Namespace, context: Context) -> list[dict[str, Any]]:
        """Return every default with its origin."""
        return context.settings.describe()


class RemoveDefault(Command):
    """``opai default remove``."""

    examples = ("opai default remove image",)
    columns = _COLUMNS

    def add_arguments(self, parser: Parser) -> None:
        """Declare the name."""
        parser.add_argument("name", metavar="K")
        parser.add_argument(
            "--global", dest="everywhere", action="store_true", help="the one for all your projects"
        )

    def run(self, args: Namespace, context: Context) -> list[dict[str, Any]]:
        """Forget the value; return what applies from now on."""
        context.settings.remove(args.name, everywhere=args.everywhere)
        return [setting for setting in context.settings.describe() if setting["name"] == args.name]


def _tell_winner(context: Context, setting: dict[str, Any]) -> None:
    """Warn when what was just set does not apply here, another place going first."""
    applied = next(item for item in context.settings.describe() if item["name"] == setting["name"])
    if applied["origin"] != setting["origin"]:
        context.warn(f"here, {applied['origin']} goes first: {setting['name']} is {applied['value']!r}")
