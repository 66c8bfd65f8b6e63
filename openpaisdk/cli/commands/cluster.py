# SPDX-License-Identifier: MIT
"""``opai cluster``: the clusters that you can use, and your account on them."""

from __future__ import annotations

import os

from openpaisdk.cli import layout, options
from openpaisdk.cli.command import Command
from openpaisdk.constants import LOCAL_ALIAS
from openpaisdk.errors import ClusterError, ConfigError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any

    from openpaisdk.cli.command import Context
    from openpaisdk.cli.layout import Show
    from openpaisdk.cli.parser import Parser
    from openpaisdk.core import Cluster

_BYTES_PER_MB = 1024 * 1024
_COLUMNS = (("ALIAS", "alias"), ("USER", "user"), ("ADDRESS", "pai_uri"), ("STORAGE", "hdfs_web_uri"))


class ListClusters(Command):
    """``opai cluster list``."""

    details = "Passwords and tokens are shown as ***."
    examples = ("opai cluster list", "opai cluster list --name")
    columns = _COLUMNS

    def add_arguments(self, parser: Parser) -> None:
        """Declare the short form."""
        parser.add_argument("--name", action="store_true", help="only the aliases")

    def run(self, args: Namespace, context: Context) -> list[Any]:
        """Return the clusters known, or the one that ``-a`` names."""
        book = context.clusters
        if args.cluster_alias is not None:
            book.get(args.cluster_alias)
        entries = [
            entry
            for entry in book.masked()
            if args.cluster_alias is None or entry["alias"] == args.cluster_alias
        ]
        return [entry["alias"] for entry in entries] if args.name else entries


class AddCluster(Command):
    """``opai cluster add``."""

    details = (
        "The account is checked by logging in, then kept in clusters.json (mode 0600) in your home.\n"
        "Without a password or token, the password is asked for on a terminal."
    )
    examples = (
        "opai cluster add -a prod --pai-uri https://pai.example.org --user alice",
        "opai cluster add -a prod --pai-uri https://pai.example.org --user alice --password-stdin < secret",
    )
    columns = _COLUMNS

    def add_arguments(self, parser: Parser) -> None:
        """Declare address and account."""
        parser.add_argument(
            "--pai-uri", required=True, metavar="URI", help="address of the cluster, as of its web page"
        )
        parser.add_argument("--user", required=True, metavar="U", help="your user name there")
        options.add_password(parser)
        parser.add_argument("--hdfs-web-uri", metavar="URI", help="address of its WebHDFS, where it has one")
        parser.add_argument("--no-check", action="store_true", help="keep it without logging in")

    def run(self, args: Namespace, context: Context) -> list[dict[str, Any]]:
        """Log in, keep the cluster, and return it as ``cluster list`` shows it."""
        alias = args.cluster_alias
        if alias is None:
            raise UsageError(
                "missing -a/--cluster-alias", hint="choose a short name for the cluster: -a prod"
            )
        book = context.clusters
        if alias in book.aliases():
            raise ConfigError(f"there is a cluster {alias!r} already", hint=f"opai cluster remove {alias}")
        entry: dict[str, Any] = {"pai_uri": args.pai_uri, "user": args.user}
        if not args.no_check or args.password is not None or args.password_stdin or args.token is not None:
            entry.update(_read_account(args, context))
        if args.hdfs_web_uri is not None:
            entry["hdfs_web_uri"] = args.hdfs_web_uri
        if not args.no_check:
            entry["token"] = _log_in(alias, entry)
        book.add(alias, entry)
        return _entries(context, alias)


class RemoveCluster(Command):
    """``opai cluster remove``."""

    examples = ("opai cluster remove prod",)
    columns = _COLUMNS

    def add_arguments(self, parser: Parser) -> None:
        """Declare the cluster."""
        parser.add_argument("alias", metavar="A", help="its alias")

    def run(self, args: Namespace, context: Context) -> list[dict[str, Any]]:
        """Forget the cluster and return what it was."""
        removed = _entries(context, args.alias)
        context.clusters.remove(args.alias)
        if context.settings.get("cluster-alias") == args.alias:
            context.warn(
                f"the default cluster-alias is still {args.alias!r}: choose another with opai cluster select"
            )
        return removed


class SelectCluster(Command):
    """``opai cluster select``."""

    details = (
        "Sets the default cluster-alias: of the project when it has a .openpai/defaults.json, else of your\n"
        "account. `opai default add [--global] cluster-alias=A` chooses the place."
    )
    examples = ("opai cluster select prod",)
    columns = _COLUMNS

    def add_arguments(self, parser: Parser) -> None:
        """Declare the cluster."""
        parser.add_argument("alias", metavar="A", help="its alias")

    def run(self, args: Namespace, context: Context) -> list[dict[str, Any]]:
        """Make the cluster the default and return it."""
        from openpaisdk.constants import DEFAULTS_FILE

        entries = _entries(context, args.alias)
        project_file = os.path.join(context.settings.project_folder(), DEFAULTS_FILE)
        in_project = os.path.isfile(project_file)
        context.settings.set({"cluster-alias": args.alias}, everywhere=not in_project)
        context.note(
            f"cluster {args.alias!r} is the default {'of this project' if in_project else 'of your account'}"
        )
        if context.settings.get("cluster-alias") != args.alias:
            context.warn("$PAI_SDK_CLUSTER_ALIAS names another cluster, and wins")
        return entries


class Login(Command):
    """``opai cluster login``."""

    details = "The password is asked for on a terminal, and not kept; the token is."
    examples = ("opai cluster login -a prod", "opai cluster login -a prod --password-stdin < secret")
    columns = _COLUMNS

    def add_arguments(self, parser: Parser) -> None:
        """Declare other ways to hand over the password."""
        options.add_password(parser)

    def run(self, args: Namespace, context: Context) -> list[dict[str, Any]]:
        """Fetch a token, keep it, and return the cluster as ``cluster list`` shows it."""
        alias = _choose(args, context)
        entry = context.clusters.get(alias)
        if not entry.get("user") and args.token is None:
            raise ConfigError(
                f"no user is known for cluster {alias!r}",
                hint=f"opai cluster remove {alias}, then opai cluster add it with --user",
            )
        account = _read_account(args, context)
        token = _log_in(alias, {**entry, "passwd": None, "token": None, **account})
        context.clusters.update(alias, {"token": token})
        return _entries(context, alias)


class Logout(Command):
    """``opai cluster logout``."""

    details = (
        "The token is revoked; token and password are forgotten, `opai cluster login` brings a token back."
    )
    examples = ("opai cluster logout -a prod",)
    columns = _COLUMNS

    def run(self, args: Namespace, context: Context) -> list[dict[str, Any]]:
        """Revoke the token, forget it, and return the cluster as ``cluster list`` shows it."""
        alias = _choose(args, context)
        entry = context.clusters.get(alias)
        if entry.get("token"):
            try:
                _open({**entry, "passwd": None}, alias).logout()
            except ClusterError as exc:
                context.warn(f"the token was forgotten, and not revoked: {exc.message}")
        context.clusters.update(alias, {"token": None, "passwd": None})
        return _entries(context, alias)


class ShowInfo(Command):
    """``opai cluster info``."""

    examples = ("opai cluster info -a prod",)

    def run(self, args: Namespace, context: Context) -> dict[str, Any]:
        """Return name, version and way of logging in."""
        return {_snake_case(key): value for key, value in context.cluster.info().items()}


class ShowResources(Command):
    """``opai cluster resources``."""

    examples = ("opai cluster resources",)

    def run(self, args: Namespace, context: Context) -> list[dict[str, Any]]:
        """Return free, used and total resources per virtual cluster."""
        return [_resources(entry) for entry in context.cluster.resources()]

    def to_text(self, value: Any, *, width: int | None, paint: Show | None) -> str | None:
        """Show of each resource how much is free, and of how much."""
        rows = [
            {
                "VIRTUAL CLUSTER": entry["name"],
                "FREE GPUS": f"{entry['gpus_free']} of {entry['gpus_total']}",
                "FREE CPUS": f"{entry['cpus_free']} of {entry['cpus_total']}",
                "FREE MEMORY": f"{layout.size(entry['memory_free_bytes'])} "
                f"of {layout.size(entry['memory_total_bytes'])}",
                "DEDICATED": entry["dedicated"],
            }
            for entry in value
        ]
        return layout.table(rows, width=width, paint=paint)


class AttachHdfs(Command):
    """``opai cluster attach-hdfs``."""

    details = (
        "Other schemes do as well: s3://bucket, file:///share. What a storage needs beyond its address\n"
        "(user, options) goes into its entry in clusters.json. On the embedded cluster jobs have their\n"
        "folders on its own storage, whichever is the default of `opai storage`."
    )
    examples = (
        "opai cluster attach-hdfs -a prod --storage-alias main --web-hdfs-uri http://namenode:9870 --default",
        "opai cluster attach-hdfs -a prod --storage-alias ha --web-hdfs-uri 'webhdfs://nn1:9870,nn2:9870'",
    )
    columns = (("ALIAS", "alias"), ("ADDRESS", "uri"), ("DEFAULT", "default"))

    def add_arguments(self, parser: Parser) -> None:
        """Declare alias and address."""
        parser.add_argument("-s", "--storage-alias", required=True, metavar="S", help="name of the storage")
        parser.add_argument(
            "--web-hdfs-uri", required=True, metavar="URI", help="its address; name nodes separated by commas"
        )
        parser.add_argument("--default", action="store_true", help="use it where no storage is named")
        parser.add_argument("--kerberos", action="store_true", help="log in with your Kerberos ticket")
        parser.add_argument(
            "--data-node",
            dest="data_nodes",
            metavar="NAME=HOST",
            type=options.pair,
            action="append",
            default=[],
            help="reach data node NAME (`*`: any other) at this host or host:port; repeatable",
        )

    def run(self, args: Namespace, context: Context) -> list[dict[str, Any]]:
        """Add the storage to the cluster's entry and return the cluster's storages."""
        from openpaisdk.storage.registry import check_uri

        check_uri(args.web_hdfs_uri)
        book = context.clusters
        alias = book.choose(args.cluster_alias or context.settings.get("cluster-alias"))
        entry = book.get(alias)
        storages = {
            name: {key: value for key, value in other.items() if key != "default" or not args.default}
            for name, other in (entry.get("storages") or {}).items()
            if isinstance(other, dict)
        }
        is_own = args.storage_alias == LOCAL_ALIAS and not entry.get("pai_uri")
        if args.storage_alias in storages or is_own:
            raise ConfigError(
                f"cluster {alias!r} has a storage {args.storage_alias!r} already", hint="choose another name"
            )
        added: dict[str, Any] = {"uri": args.web_hdfs_uri}
        added.update({"default": True} if args.default else {})
        added.update({"kerberos": True} if args.kerberos else {})
        added.update({"data_nodes": dict(args.data_nodes)} if args.data_nodes else {})
        book.update(alias, {"storages": {**storages, args.storage_alias: added}})
        context.alias = alias
        return context.cluster.storage_list()


def _resources(entry: dict[str, Any]) -> dict[str, Any]:
    """Return what a virtual cluster has in flat form, memory in bytes."""
    flat: dict[str, Any] = {"name": entry["name"], "dedicated": entry["dedicated"]}
    for key, ours in (("gpu", "gpus_{}"), ("cpu", "cpus_{}")):
        flat.update({ours.format(which): amount for which, amount in entry[key].items()})
    for which, amount in entry["memory_mb"].items():
        flat[f"memory_{which}_bytes"] = int(amount * _BYTES_PER_MB)
    return flat


def _snake_case(name: str) -> str:
    """Return a name such as ``launcherType`` as ``launcher_type``."""
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name).lstrip("_")


def _choose(args: Namespace, context: Context) -> str:
    """Return the alias of the cluster that is meant, one with an account."""
    alias = context.clusters.choose(args.cluster_alias or context.settings.get("cluster-alias"))
    if alias == LOCAL_ALIAS and not context.clusters.get(alias).get("pai_uri"):
        raise UsageError("the embedded cluster needs no login", hint="name another cluster with -a")
    return alias


def _open(entry: dict[str, Any], alias: str) -> Cluster:
    from openpaisdk.core import Cluster

    return Cluster(
        entry["pai_uri"],
        alias=alias,
        user=entry.get("user"),
        password=entry.get("passwd"),
        token=entry.get("token"),
        verify=entry.get("verify", True),
    )


def _log_in(alias: str, entry: dict[str, Any]) -> str:
    """Return a token that the cluster gave or has checked."""
    return str(_open(entry, alias).login()["token"].reveal())


def _entries(context: Context, alias: str) -> list[dict[str, Any]]:
    """Return one cluster as ``cluster list`` shows it, secrets masked."""
    book = context.clusters
    book.get(alias)
    return [entry for entry in book.masked() if entry["alias"] == alias]


def _read_account(args: Namespace, context: Context) -> dict[str, str]:
    """Return the password or token that the options give, or a person at the terminal.

    Raises:
        UsageError: None of them does.
    """
    for option, key in (("password", "passwd"), ("token", "token")):
        value = getattr(args, option)
        if value is not None:
            context.warn(
                f"the value of --{option} can be seen on the command line; --password-stdin is quieter"
            )
            return {key: value}
    if args.password_stdin:
        import sys

        password = sys.stdin.readline().rstrip("\r\n")
    elif context.can_ask:
        password = context.ask("Password", secret=True)
    else:
        raise UsageError(
            "no password was given, and there is no terminal to ask on", hint="use --password-stdin"
        )
    if not password:
        raise UsageError("the password is empty")
    return {"passwd": password}
