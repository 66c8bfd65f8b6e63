# SPDX-License-Identifier: MIT
"""``opai local user``: who may use the embedded cluster beside its owner."""

from __future__ import annotations

from openpaisdk._secret import Secret
from openpaisdk.cli import options
from openpaisdk.cli.command import Command
from openpaisdk.core import open_local
from openpaisdk.errors import LocalClusterError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any

    from openpaisdk.cli.command import Context
    from openpaisdk.cli.parser import Parser

_COLUMNS = (("NAME", "name"), ("ADMIN", "admin"), ("VIRTUAL CLUSTERS", "virtual_clusters"))
_PASSWORD_LENGTH_MIN = 6
_GENERATED_BYTES = 18
_NOT_ISOLATED = (
    "users are not isolated from each other: all jobs run under the account that the cluster runs under, "
    "and can read and change everything that it can"
)


class AddUser(Command):
    """``opai local user add``."""

    details = (
        "The password is asked for on a terminal; without one, a password is made up and shown, once.\n"
        "Users see each other's jobs, and only change their own; an admin changes all."
    )
    examples = (
        "opai local user add bob",
        "opai local user add bob --vc team --password-stdin < secret",
    )
    columns = (*_COLUMNS, ("PASSWORD", "password"))

    def add_arguments(self, parser: Parser) -> None:
        """Declare who it is, and what he may do."""
        parser.add_argument("name", metavar="NAME", help="letters, digits, _, - and .")
        parser.add_argument("--admin", action="store_true", help="may change jobs and users of all")
        parser.add_argument(
            "--vc",
            action="extend",
            type=options.comma_list,
            default=[],
            metavar="NAME",
            help="a virtual cluster that he may use beside `default` (repeatable)",
        )
        _add_password(parser)

    def run(self, args: Namespace, context: Context) -> list[dict[str, Any]]:
        """Add the user and return him as ``local user list`` shows him."""
        context.warn(_NOT_ISOLATED)
        password, shown = _new_password(args, context)
        client = open_local()
        client.create_user(args.name, password, admin=args.admin, virtual_clusters=args.vc)
        return [{**_entry(client.users(), args.name), **shown}]


class ListUsers(Command):
    """``opai local user list``."""

    examples = ("opai local user list -o json",)
    columns = _COLUMNS

    def run(self, args: Namespace, context: Context) -> list[dict[str, Any]]:
        """Return all users."""
        return [_row(user) for user in open_local().users()]


class RemoveUser(Command):
    """``opai local user remove``."""

    details = "Jobs and files of the user stay. An admin cannot be removed."
    examples = ("opai local user remove bob",)
    columns = _COLUMNS

    def add_arguments(self, parser: Parser) -> None:
        """Declare who it is."""
        parser.add_argument("name", metavar="NAME", help="the user")

    def run(self, args: Namespace, context: Context) -> list[dict[str, Any]]:
        """Remove the user and return him as he was."""
        client = open_local()
        entry = _entry(client.users(), args.name)
        client.delete_user(args.name)
        return [entry]


class ChangePassword(Command):
    """``opai local user passwd``."""

    details = (
        "The password is asked for on a terminal; without one, a password is made up and shown, once.\n"
        "Whoever is logged in with the old one has to log in again."
    )
    examples = ("opai local user passwd bob", "opai local user passwd bob --password-stdin < secret")
    columns = (*_COLUMNS, ("PASSWORD", "password"))

    def add_arguments(self, parser: Parser) -> None:
        """Declare who it is."""
        parser.add_argument("name", metavar="NAME", help="the user")
        _add_password(parser)

    def run(self, args: Namespace, context: Context) -> list[dict[str, Any]]:
        """Change the password and return the user."""
        client = open_local()
        entry = _entry(client.users(), args.name)
        password, shown = _new_password(args, context)
        client.set_user_password(args.name, password)
        return [{**entry, **shown}]


def _add_password(parser: Parser) -> None:
    parser.add_argument("--password-stdin", action="store_true", help="read the password from stdin")


def _new_password(args: Namespace, context: Context) -> tuple[Secret, dict[str, str]]:
    """Return the password to set; and, when nobody has chosen it, what is to be shown of it.

    Raises:
        UsageError: It is too short, or was not typed twice in the same way.
    """
    if args.password_stdin:
        import sys

        password = sys.stdin.readline().rstrip("\r\n")
    elif context.can_ask:
        password = context.ask(f"Password for {args.name}", secret=True)
        if context.ask("The same again", secret=True) != password:
            raise UsageError("the two passwords are not the same")
    else:
        import secrets

        password = secrets.token_urlsafe(_GENERATED_BYTES)
        return Secret(password), {"password": password}
    if len(password) < _PASSWORD_LENGTH_MIN:
        raise UsageError(f"the password is too short, at least {_PASSWORD_LENGTH_MIN} characters are wanted")
    return Secret(password), {}


def _entry(users: list[dict[str, Any]], name: str) -> dict[str, Any]:
    for user in users:
        if user.get("username") == name:
            return _row(user)
    raise LocalClusterError(
        f"the embedded cluster has no user {name!r}", hint="opai local user list shows those it has"
    )


def _row(user: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": user.get("username"),
        "admin": user.get("admin"),
        "virtual_clusters": user.get("virtualCluster"),
    }
