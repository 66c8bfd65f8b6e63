# SPDX-License-Identifier: MIT
"""``opai output``: what a job has stored and printed."""

from __future__ import annotations

import os
from argparse import SUPPRESS

from openpaisdk.cli import last_job, layout
from openpaisdk.cli.command import Command
from openpaisdk.errors import StorageExistsError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any

    from openpaisdk.cli.command import Context
    from openpaisdk.cli.parser import Parser
    from openpaisdk.job import JobHandle

_COLUMNS = (
    ("NAME", "name"),
    ("TYPE", "type"),
    ("SIZE", "size_bytes", layout.size),
    ("MODIFIED (UTC)", "modified_at", layout.moment),
)


class ListOutputs(Command):
    """``opai output list``."""

    examples = ("opai output list", "opai output list -j train-1 -o json")
    columns = _COLUMNS

    def add_arguments(self, parser: Parser) -> None:
        """Declare the job."""
        _add_job(parser)

    def run(self, args: Namespace, context: Context) -> list[dict[str, Any]]:
        """Return the files that the job has stored."""
        return _open_job(args, context).outputs.list()


class DownloadOutputs(Command):
    """``opai output download``."""

    details = "Without a NAME, everything is fetched. Files that are there already are kept and reported."
    examples = ("opai output download", "opai output download -j train-1 model.pt --to models --overwrite")
    columns = _COLUMNS

    def add_arguments(self, parser: Parser) -> None:
        """Declare the job, what to fetch, and where to."""
        parser.add_argument("names", metavar="NAME", nargs="*", help="files or folders of the job's output")
        _add_job(parser)
        parser.add_argument(
            "--to", default=".", metavar="DIR", help="local folder (default: the working directory)"
        )
        parser.add_argument("--overwrite", action="store_true", help="replace local files")

    def run(self, args: Namespace, context: Context) -> list[dict[str, Any]]:
        """Fetch the outputs and return the local files and folders, as ``output list`` would."""
        outputs = _open_job(args, context).outputs
        with context.progress("fetching", goes_on=True) as progress:
            paths = outputs.download(*args.names, to=args.to, overwrite=args.overwrite, on_progress=progress)
        for path in paths:
            context.note(f"fetched {path}")
        return [_describe(path) for path in paths]


class PeekOutput(Command):
    """``opai output peek``."""

    details = "While the job runs, what it has printed so far."
    examples = ("opai output peek", "opai output peek -j train-1 --stderr --save errors.txt")
    columns = _COLUMNS

    def add_arguments(self, parser: Parser) -> None:
        """Declare the job, which stream, and a file."""
        _add_job(parser)
        parser.add_argument("--stdout", action="store_true", help="what went to stdout")
        parser.add_argument("--stderr", action="store_true", help="what went to stderr")
        # the first SDK called it so
        parser.add_argument("--stdin", dest="stderr", action="store_true", help=SUPPRESS)
        parser.add_argument(
            "--save", metavar="FILE", help="write it into a new local file instead of showing it"
        )

    def run(self, args: Namespace, context: Context) -> Any:
        """Return the text, or with ``--save`` the file."""
        if args.save is not None and os.path.exists(args.save):
            raise StorageExistsError(f"{args.save!r} is there already", hint="choose another name")
        stream = "all" if args.stdout == args.stderr else "stdout" if args.stdout else "stderr"
        text = _open_job(args, context).logs(stream=stream)
        if args.save is None:
            return text
        from openpaisdk._files import replace_file

        replace_file(args.save, text.encode("utf-8", "surrogateescape"))
        return [_describe(args.save)]


def _add_job(parser: Parser) -> None:
    parser.add_argument(
        "-j", "--job-name", metavar="JOB", help="the job (left out: the last one from this directory)"
    )


def _open_job(args: Namespace, context: Context) -> JobHandle:
    """Return the job that ``-j`` names, else the one submitted last from the working directory."""
    from openpaisdk.job.handle import JobHandle, attach

    if args.job_name is not None:
        return attach(context.cluster, args.job_name)
    job = last_job.recall(context)
    if args.cluster_alias not in (None, job["cluster"]):
        raise UsageError(
            f"the last job from this directory, {job['name']!r}, is on cluster {job['cluster']!r}, "
            f"not on {args.cluster_alias!r}",
            hint="name a job with -j",
        )
    context.alias = job["cluster"]
    context.note(f"job {job['name']!r}")
    return JobHandle(context.cluster, job["name"], user=job["user"])


def _describe(path: str) -> dict[str, Any]:
    """Return a local file or folder in the form of ``output list``."""
    import time

    found = os.stat(path)
    is_folder = os.path.isdir(path)
    return {
        "name": path,
        "type": "directory" if is_folder else "file",
        "size_bytes": 0 if is_folder else found.st_size,
        "modified_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(found.st_mtime)),
    }
