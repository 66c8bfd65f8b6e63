# SPDX-License-Identifier: MIT
"""``opai job submit`` and ``opai job fast``: the commands that make a job."""

from __future__ import annotations

import os

from openpaisdk.cli import layout, options
from openpaisdk.cli.command import Command
from openpaisdk.cli.exit_codes import of_state
from openpaisdk.errors import SpecError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable
    from typing import Any

    from openpaisdk.cli.command import Context
    from openpaisdk.cli.layout import Show
    from openpaisdk.cli.parser import Parser
    from openpaisdk.job import Job

FILES_NAMED = 3
"""So many files that are uploaded are told by name."""


class _Submission(Command):
    """What ``submit`` and ``fast`` have in common: they preview or send a job, and may wait for its end."""

    def to_text(self, value: Any, *, width: int | None, paint: Show | None) -> str | None:
        """Show a document that was only previewed as YAML."""
        if "taskRoles" not in value:
            return None
        from openpaisdk.cli.commands.job import dump_document

        return dump_document(value)

    def exit_code(self, value: Any) -> int:
        """Tell a job that was waited for and did not succeed."""
        return 0 if "taskRoles" in value else of_state(value.get("state"))


class SubmitJob(_Submission):
    """``opai job submit``."""

    details = (
        "FILE is protocol v2 in YAML or JSON, - is stdin. Nothing is sent when the document has problems."
    )
    examples = (
        "opai job submit --config job.yaml",
        "opai job submit --config job.yaml -j train-2 -u taskRoles.worker.instances=2 --wait",
        "opai job submit --config job.yaml --preview",
    )

    def add_arguments(self, parser: Parser) -> None:
        """Declare the file and what to change in it."""
        parser.add_argument("--config", required=True, metavar="FILE", help="the job document, - for stdin")
        parser.add_argument(
            "-j", "--job-name", metavar="NAME", help="name of the job instead of the one in the file"
        )
        parser.add_argument(
            "-u",
            "--update",
            action="append",
            type=options.path_and_value,
            metavar="PATH=VALUE",
            help="set a field, such as defaults.virtualCluster=x (repeatable)",
        )
        options.add_preview(parser)
        options.add_waiting(parser)

    def run(self, args: Namespace, context: Context) -> dict[str, Any]:
        """Load the document, change it, and send or show it."""
        job = _load_job(args.config)
        for path, value in args.update or ():
            job.update(path, value)
        if args.job_name is not None:
            job.name = args.job_name
        return _send(job, args, context)


class FastJob(_Submission):
    """``opai job fast``."""

    details = (
        "Several words of CMD are an argument list, handed over exactly; a single word is a shell\n"
        "command line. Every word from the first one of CMD, or after --, belongs to the command.\n"
        "Files under the working directory that CMD names by a relative path are uploaded, unless an\n"
        "ignore file excludes them."
    )
    examples = (
        "opai job fast --follow python train.py --lr 0.1",
        "opai job fast -j train-1 --gpu 1 --mem 8g -i pytorch/pytorch --outputs model.pt python train.py",
        "opai job fast --wait 'make test > log.txt'",
        "opai job fast -s hdfs:///user/alice/images.tar -s train.py python train.py images",
    )

    def add_arguments(self, parser: Parser) -> None:
        """Declare what the task gets."""
        many = "repeatable"
        parser.add_argument(
            "-j", "--job-name", metavar="NAME", help="name of the job (left out: one is made up)"
        )
        parser.add_argument("-i", "--image", metavar="IMAGE", help="docker image")
        parser.add_argument("--cpu", type=options.whole_number(1), metavar="N", help="CPU cores")
        parser.add_argument("--gpu", type=options.whole_number(0), metavar="N", help="GPUs")
        parser.add_argument(
            "--mem", type=options.memory_mb, metavar="SIZE", help="memory: 4096 (MB), 4g, 512m"
        )
        parser.add_argument(
            "--port", action="append", type=options.port, metavar="LABEL=N", help=f"N ports ({many})"
        )
        parser.add_argument("--vc", "--virtual-cluster", metavar="VC", help="virtual cluster")
        parser.add_argument(
            "-s",
            "--source",
            action="append",
            metavar="PATH",
            help=f"file or folder to upload, or tar file on a storage to unpack ({many})",
        )
        parser.add_argument(
            "-p",
            "--package",
            action="extend",
            type=options.comma_list,
            metavar="PACKAGE",
            help=f"for pip ({many})",
        )
        parser.add_argument(
            "-e", "--env", action="append", type=options.pair, metavar="K=V", help=f"variable ({many})"
        )
        parser.add_argument(
            "--secret",
            action="append",
            metavar="K[=V]",
            help=f"variable that is shown nowhere: K takes $K, K=@FILE reads a file ({many})",
        )
        parser.add_argument(
            "--param",
            action="append",
            type=options.pair,
            metavar="K=V",
            help=f"parameter, <%% $parameters.K %%> in CMD ({many})",
        )
        parser.add_argument(
            "--outputs",
            action="extend",
            type=options.comma_list,
            metavar="PATH",
            help=f"file or folder to store at the end ({many})",
        )
        parser.add_argument(
            "--retry", type=options.whole_number(0), default=0, metavar="N", help="retries of the job"
        )
        options.add_preview(parser)
        options.add_waiting(parser)
        parser.add_command_line()

    def run(self, args: Namespace, context: Context) -> dict[str, Any]:
        """Make a job of one task and send or show it."""
        from openpaisdk.job import Job

        if not args.command:
            raise UsageError(
                "missing CMD", hint="opai job fast [options] python train.py; `opai job fast -h` has more"
            )
        settings = context.settings
        job = Job.fast(
            args.job_name,
            args.command,
            image=args.image or settings.get("image"),
            cpu=_either(args.cpu, settings.get("cpu")),
            gpu=_either(args.gpu, settings.get("gpu")),
            memory=_either(args.mem, settings.get("mem")),
            ports=_unique(args.port, "--port"),
            virtual_cluster=args.vc or settings.get("virtual-cluster"),
            sources=args.source or (),
            packages=args.package or (),
            env=_unique(args.env, "--env"),
            secrets=_read_secrets(args.secret or (), context),
            parameters=_unique(args.param, "--param"),
            outputs=args.outputs or (),
            retry=args.retry,
        )
        return _send(job, args, context)


def _send(job: Job, args: Namespace, context: Context) -> dict[str, Any]:
    """Submit the job, and wait for its end where asked; or only return what would be sent."""
    from openpaisdk.cli import following, last_job

    cluster = context.cluster
    if args.preview:
        return job.preview(show_secrets=args.show_secrets, cluster=cluster)
    _tell_uploads(job, context)
    handle = job.submit(cluster)
    value: dict[str, Any] = {
        "name": handle.name,
        "user": handle.user,
        "cluster": cluster.alias,
        "link": handle.link,
    }
    last_job.remember(context, value)
    context.note(f"job {handle.name!r} was submitted: {handle.link}")
    if args.follow:
        several = following.count_tasks(job.to_dict()) > 1
        value.update(following.follow_job(context, handle.name, several_tasks=several, whole_lines=True))
    elif args.wait:
        value.update(following.wait_for_job(context, handle.name))
    else:
        context.note(f"follow it with `opai job logs -f {handle.name}`")
    return value


def _tell_uploads(job: Job, context: Context) -> None:
    """Say which files go along, how large they are, and which ones do not."""
    for note in job.notes:
        context.note(note)
    for uri, folder in zip(job.archives, job.archive_folders, strict=True):
        context.note(f"the job fetches {uri} into {folder}/")
    if context.args.quiet or not job.sources:
        return
    from openpaisdk.sources import select

    chosen = select(job.sources, folder=job.folder).preview()
    files = "1 file" if chosen["files"] == 1 else f"{chosen['files']} files"
    largest = [
        f"{file['name']} ({layout.size(file['size_bytes'])})" for file in chosen["largest"][:FILES_NAMED]
    ]
    which = ", ".join(largest) if chosen["files"] <= FILES_NAMED else f"the largest {largest[0]}"
    context.note(f"uploading {files}, {layout.size(chosen['size_bytes'])}: {which}")


def _load_job(path: str) -> Job:
    """Return the job in a file or on stdin.

    Raises:
        SpecError: It is not text, or no protocol v2 document.
        UsageError: The file cannot be read.
    """
    from openpaisdk.cli.documents import read_document
    from openpaisdk.job import Job

    text, file = read_document(path)
    job = Job.from_text(text, file=file)
    document = job.to_dict()
    if "jobName" in document or isinstance(document.get("taskRoles"), list):
        raise SpecError(
            f"job file {file or 'on stdin'!r} is of protocol version 1, version 2 is wanted: "
            "it has jobName or a list of taskRoles",
            hint="write it as protocol version 2: `opai job fast --preview CMD` shows such a document",
        )
    return job


def _read_secrets(given: Iterable[str], context: Context) -> dict[str, str]:
    """Return the secrets by name: ``K`` from the variable, ``K=@FILE`` from a file, ``K=V`` as it stands."""
    secrets: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if name in secrets:
            raise UsageError(f"--secret {name} was given twice")
        if not equals:
            if name not in os.environ:
                raise UsageError(
                    f"--secret {name}: the variable ${name} is not set", hint=f"export {name}=… first"
                )
            value = os.environ[name]
        elif value.startswith("@"):
            from openpaisdk.cli.documents import read_text

            value = read_text(value[1:])[0].removesuffix("\n")
        else:
            context.warn(
                f"the value of --secret {name} can be seen on the command line; "
                f"--secret {name} takes it from ${name}, --secret {name}=@FILE from a file"
            )
        secrets[name] = value
    return secrets


def _unique(pairs: Iterable[tuple[str, Any]] | None, option: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs or ():
        if name in values:
            raise UsageError(f"{option} {name} was given twice")
        values[name] = value
    return values


def _either(given: Any, default: Any) -> Any:
    return default if given is None else given
