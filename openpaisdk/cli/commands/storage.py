# SPDX-License-Identifier: MIT
"""``opai storage``: files on a cluster's storage, and on any other that has an address."""

from __future__ import annotations

import io

from openpaisdk.cli import layout, options
from openpaisdk.cli.command import Command
from openpaisdk.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any

    from openpaisdk.cli.command import Context
    from openpaisdk.cli.layout import Show
    from openpaisdk.cli.parser import Parser
    from openpaisdk.storage.base import FileInfo, Storage

COLUMNS = (
    ("NAME", "name"),
    ("TYPE", "type"),
    ("SIZE", "size_bytes", layout.size),
    ("MODIFIED (UTC)", "modified_at", layout.moment),
)
_PIECE_BYTES = 1 << 16
_REMOTE_HELP = (
    "a path on the storage, or a full address such as hdfs://host/path, s3://bucket/path, file:///path"
)
STREAM = "-"
"""In place of a local file: stdin or stdout."""


class StorageCommand(Command):
    """A command with ``-s``."""

    columns = COLUMNS

    def add_arguments(self, parser: Parser) -> None:
        """Declare which storage is meant."""
        parser.add_argument("-s", "--storage-alias", metavar="S", help="which storage of the cluster")

    def to_text(self, value: Any, *, width: int | None, paint: Show | None) -> str | None:
        """Show sizes for people."""
        if not isinstance(value, dict):
            return None
        return layout.pairs(
            {key: layout.size(item) if key == "size_bytes" else item for key, item in value.items()}
        )


class _RemoteCommand(StorageCommand):
    """A command on one remote path."""

    def add_arguments(self, parser: Parser) -> None:
        """Declare the path."""
        parser.add_argument("remote", metavar="<remote>", help=_REMOTE_HELP)
        super().add_arguments(parser)


class ListFiles(_RemoteCommand):
    """``opai storage list``."""

    details = "*, ? and [...] match within a name, ** any number of folders; quote them for the shell."
    examples = (
        "opai storage list /user/alice",
        "opai storage list 'hdfs://namenode/data/**/*.csv' -o json",
    )

    def run(self, args: Namespace, context: Context) -> list[FileInfo]:
        """Return what is in a folder."""
        storage, path = locate(args.remote, args, context)
        return storage.list(path)


class ShowFile(_RemoteCommand):
    """``opai storage status``."""

    examples = ("opai storage status /user/alice/data.csv",)

    def run(self, args: Namespace, context: Context) -> FileInfo:
        """Return what is known of a file or folder."""
        storage, path = locate(args.remote, args, context)
        return storage.status(path)


class MakeFolder(_RemoteCommand):
    """``opai storage mkdir``."""

    examples = ("opai storage mkdir /user/alice/data",)

    def run(self, args: Namespace, context: Context) -> list[FileInfo]:
        """Make the folder and return it."""
        storage, path = locate(args.remote, args, context)
        return [storage.mkdir(path)]


class ShowUsage(_RemoteCommand):
    """``opai storage du``."""

    examples = ("opai storage du /user/alice",)

    def run(self, args: Namespace, context: Context) -> dict[str, Any]:
        """Return bytes, files and folders."""
        storage, path = locate(args.remote, args, context)
        return storage.du(path)


class DeleteFiles(StorageCommand):
    """``opai storage delete``."""

    details = (
        "A folder that holds something is deleted only with -r. Wildcards are taken as they are.\n"
        "With --left-overs a folder stays, and all in it; deleted is what uploads and downloads that were\n"
        "broken off have left there and below, if nothing of such a transfer has changed for so long."
    )
    examples = (
        "opai storage delete /user/alice/old.csv",
        "opai storage delete -r /user/alice/old",
        "opai storage delete --left-overs --older-than 2d /user/alice",
        "opai storage delete --left-overs file:///home/alice/data",
    )

    def add_arguments(self, parser: Parser) -> None:
        """Declare what to delete."""
        parser.add_argument("remotes", metavar="<remote>", nargs="+", help=_REMOTE_HELP)
        what = parser.add_mutually_exclusive_group()
        what.add_argument("-r", "--recursive", action="store_true", help="a folder with all that it holds")
        what.add_argument(
            "--left-overs", action="store_true", help="only what broken-off transfers left in it"
        )
        parser.add_argument(
            "--older-than",
            metavar="TIME",
            type=options.duration,
            help="left-overs of how long ago: 36h, 7d (default: 7d, at least 1d)",
        )
        super().add_arguments(parser)

    def run(self, args: Namespace, context: Context) -> list[FileInfo]:
        """Delete, and return what it was."""
        found = [locate(remote, args, context) for remote in args.remotes]
        if not args.left_overs:
            if args.older_than is not None:
                raise UsageError("--older-than is for --left-overs")
            return [storage.delete(path, recursive=args.recursive) for storage, path in found]
        return [
            info
            for storage, path in found
            for info in storage.delete_left_overs(path, older_than_s=args.older_than, on_note=context.note)
        ]


class MoveFile(StorageCommand):
    """``opai storage move``."""

    details = (
        "Into a folder that is there it moves under its own name. Between storages it is copied, compared\n"
        "and then deleted."
    )
    examples = (
        "opai storage move /user/alice/a.csv /user/alice/b.csv",
        "opai storage move /user/alice/a.csv s3://bucket/a.csv",
    )

    def add_arguments(self, parser: Parser) -> None:
        """Declare both paths."""
        parser.add_argument("source", metavar="<remote>", help=_REMOTE_HELP)
        parser.add_argument("target", metavar="<remote>", help="where to")
        parser.add_argument("--overwrite", action="store_true", help="replace a file")
        super().add_arguments(parser)

    def run(self, args: Namespace, context: Context) -> list[FileInfo]:
        """Move, and return what it is now."""
        source, source_path = locate(args.source, args, context)
        target, target_path = locate(args.target, args, context)
        if source.uri == target.uri:
            return [source.move(source_path, target_path, overwrite=args.overwrite)]
        from openpaisdk.storage.transfer.upload import Upload

        with context.progress("moving", goes_on=True) as progress:
            upload = Upload(target, overwrite=args.overwrite, on_progress=progress, on_note=context.note)
            return [upload.move(source, source_path, target_path)]


class UploadFiles(StorageCommand):
    """``opai storage upload``."""

    details = (
        "Into a folder that is there (or a path that ends with /) it goes under its own name. A file\n"
        "is seen when it is whole; the same command goes on where an earlier one was broken off.\n"
        "- is stdin. Links are followed. <local> may also be the address of another storage."
    )
    examples = (
        "opai storage upload data.csv /user/alice/",
        "opai storage upload --archive images /user/alice/images.tar.zst",
        "mysqldump db | opai storage upload - /user/alice/db.sql",
    )

    def add_arguments(self, parser: Parser) -> None:
        """Declare both sides."""
        parser.add_argument("local", metavar="<local>", help="a local file, folder or pattern; - for stdin")
        parser.add_argument("remote", metavar="<remote>", help=_REMOTE_HELP)
        _add_transfer_options(parser, "store a folder as one tar file (.gz, .zst: compressed)")
        super().add_arguments(parser)

    def run(self, args: Namespace, context: Context) -> list[FileInfo]:
        """Store, and return what was stored."""
        storage, path = locate(args.remote, args, context)
        if "://" in args.local:
            if args.archive:
                raise UsageError("--archive packs a local folder, not one of another storage")
            source = locate(args.local, args, context)
            return [_copy(source, (storage, path), args, context, verify=args.verify)]
        is_stream = args.local == STREAM
        with context.progress("storing", goes_on=not is_stream and not args.archive) as progress:
            info = storage.upload(
                _stdin() if is_stream else args.local,
                path,
                overwrite=args.overwrite,
                archive=args.archive,
                verify=args.verify,
                on_progress=progress,
                on_note=context.note,
            )
        return [info]


class DownloadFiles(StorageCommand):
    """``opai storage download``."""

    details = (
        "Into a folder that is there it goes under its own name. A file is seen when it is whole; the same\n"
        "command goes on where an earlier one was broken off. - is stdout.\n"
        "<local> may also be the address of another storage."
    )
    examples = (
        "opai storage download /user/alice/data.csv .",
        "opai storage download '/user/alice/*.csv' data/",
        "opai storage download --archive /user/alice/images.tar.zst images",
    )

    def add_arguments(self, parser: Parser) -> None:
        """Declare both sides."""
        parser.add_argument("remote", metavar="<remote>", help=_REMOTE_HELP)
        parser.add_argument("local", metavar="<local>", help="a local file or folder; - for stdout")
        _add_transfer_options(parser, "unpack a tar file into the folder <local>")
        super().add_arguments(parser)

    def run(self, args: Namespace, context: Context) -> list[FileInfo] | None:
        """Fetch, and return what was fetched."""
        storage, path = locate(args.remote, args, context)
        if "://" in args.local:
            target = locate(args.local, args, context)
            return [_copy((storage, path), target, args, context, verify=args.verify)]
        is_stream = args.local == STREAM
        if is_stream and context.format != "table":
            raise UsageError(
                "stdout cannot take a file beside json or yaml", hint="leave out -o, or name a file"
            )
        with context.progress("fetching", goes_on=not is_stream and not args.archive) as progress:
            info = storage.download(
                path,
                _Stdout(context) if is_stream else args.local,  # type: ignore[arg-type]
                overwrite=args.overwrite,
                archive=args.archive,
                verify=args.verify,
                on_progress=None if is_stream else progress,
                on_note=context.note,
            )
        return None if is_stream else [info]


class ShowContent(StorageCommand):
    """``opai storage cat``."""

    examples = ("opai storage cat /user/alice/notes.txt", "opai storage cat '/user/alice/out/part-*'")

    def add_arguments(self, parser: Parser) -> None:
        """Declare the files."""
        parser.add_argument("remotes", metavar="<remote>", nargs="+", help=_REMOTE_HELP)
        super().add_arguments(parser)

    def run(self, args: Namespace, context: Context) -> str | None:
        """Show the files as they come, or return their text where nobody looks."""
        kept = []
        places = [locate(remote, args, context) for remote in args.remotes]
        for storage, path in [(place[0], path) for place in places for path in matches(*place)]:
            with storage.open(path) as file:
                while data := file.read(_PIECE_BYTES):
                    if context.streams:
                        context.stream_bytes(data)
                    else:
                        kept.append(data)
        return None if context.streams else b"".join(kept).decode("utf-8", "surrogateescape")


class ShowEnd(_RemoteCommand):
    """``opai storage tail``."""

    examples = ("opai storage tail -n 50 /user/alice/train.log",)

    def add_arguments(self, parser: Parser) -> None:
        """Declare how much."""
        parser.add_argument(
            "-n", "--lines", metavar="N", type=options.whole_number(0), default=10, help="lines (default: 10)"
        )
        parser.add_argument("-c", "--bytes", metavar="N", type=options.whole_number(0), help="bytes instead")
        super().add_arguments(parser)

    def run(self, args: Namespace, context: Context) -> str | None:
        """Show the end of the file, or return it where nobody looks."""
        storage, path = locate(args.remote, args, context)
        data = read_end(storage, path, lines=args.lines, size=args.bytes)
        if not context.streams:
            return data.decode("utf-8", "surrogateescape")
        context.stream_bytes(data)
        return None


class ListStorages(Command):
    """``opai storage list-storage``."""

    columns = (("ALIAS", "alias"), ("ADDRESS", "uri"), ("DEFAULT", "default"))
    examples = ("opai storage list-storage -a prod",)

    def run(self, args: Namespace, context: Context) -> list[dict[str, Any]]:
        """Return the cluster's storages."""
        return context.cluster.storage_list()


def locate(remote: str, args: Namespace, context: Context) -> tuple[Storage, str]:
    """Return the storage that is meant and the path on it; a relative path begins at the user's folder."""
    if "://" in remote:
        return context.cluster.storage_at(remote)
    if not remote:
        raise UsageError("the remote path is empty", hint="/ is the root of the storage")
    if remote == STREAM:
        raise UsageError("- is stdin or stdout, not a remote file", hint="./- is a file of that name")
    storage = context.cluster.storage(args.storage_alias)
    if remote.startswith("/"):
        return storage, remote
    below = "" if remote == "." else remote.removeprefix("./")
    return storage, f"/user/{context.cluster.user}/{below}"


def matches(storage: Storage, path: str) -> list[str]:
    """Return the paths that a pattern matches, or the path itself.

    Raises:
        StorageNotFoundError: Nothing matches.
    """
    from openpaisdk.storage.paths import has_wildcards, join

    if not has_wildcards(path) or storage.exists(path):
        return [path]
    from openpaisdk.storage.glob import find

    folder, found = find(storage, path)
    return [join(folder, name) for name, _ in found]


def read_end(storage: Storage, path: str, *, lines: int, size: int | None) -> bytes:
    """Return the last lines of a file, or its last bytes, without reading what is before them."""
    length = storage.status(path)["size_bytes"]
    span = _PIECE_BYTES if size is None else size
    while True:
        start = max(0, length - span)
        with storage.open(path, start) as file:
            data = file.read()
        if size is not None:
            return data
        # The line break at the very end belongs to the last line.
        if start == 0 or data[:-1].count(b"\n") >= lines:
            # Not splitlines: a progress bar's carriage returns are within a line.
            return b"".join(io.BytesIO(data).readlines()[-lines:]) if lines else b""
        span *= 4


def _copy(
    source: tuple[Storage, str],
    target: tuple[Storage, str],
    args: Namespace,
    context: Context,
    *,
    verify: bool,
) -> FileInfo:
    from openpaisdk.storage.transfer.upload import Upload

    with context.progress("copying", goes_on=True) as progress:
        upload = Upload(
            target[0], overwrite=args.overwrite, verify=verify, on_progress=progress, on_note=context.note
        )
        return upload.copy(*source, target[1])


def _add_transfer_options(parser: Parser, archive_help: str) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    parser.add_argument("--archive", action="store_true", help=archive_help)
    parser.add_argument(
        "--no-verify",
        dest="verify",
        action="store_false",
        help="do not compare checksums at the end, lengths only",
    )


def _stdin() -> Any:
    import sys

    return sys.stdin.buffer


class _Stdout:
    """The context's stdout as a file for bytes."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def write(self, data: bytes | memoryview) -> int:
        """Hand on bytes."""
        self._context.stream_bytes(data)
        return len(data)

    def seekable(self) -> bool:
        """Say that what was written stays."""
        return False
