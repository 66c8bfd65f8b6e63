# SPDX-License-Identifier: MIT
"""``opai job``: look at jobs, wait for them, stop them; ``submit`` has the commands that make one."""

from __future__ import annotations

from openpaisdk.cli import layout, options
from openpaisdk.cli.command import Command
from openpaisdk.cli.exit_codes import of_state
from openpaisdk.errors import OpenPaiError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable
    from typing import Any

    from openpaisdk.cli.command import Context
    from openpaisdk.cli.layout import Show
    from openpaisdk.cli.parser import Parser

STATES = ("WAITING", "RUNNING", "STOPPING", "SUCCEEDED", "STOPPED", "FAILED", "UNKNOWN")
DEFAULT_LIMIT = 50


def dump_document(value: Any) -> str:
    """Return a protocol document as a table shows it: as YAML."""
    from openpaisdk.spec.yaml12 import dump_yaml

    return dump_yaml(value)


class ListJobs(Command):
    """``opai job list``."""

    details = "With a name, the same as `opai job status <job-name>`."
    examples = (
        "opai job list --state RUNNING --state WAITING",
        "opai job list --name -a prod",
        "opai job list --limit 0 -o json",
    )
    columns = (
        ("NAME", "name"),
        ("USER", "user"),
        ("STATE", "state"),
        ("VC", "virtual_cluster"),
        ("SUBMITTED (UTC)", "submitted_at", layout.minute),
        ("DURATION", "duration_s", layout.duration),
        ("GPUS", "gpus"),
        ("TASKS", "tasks"),
        ("RETRIES", "retries"),
        ("TAGS", "tags"),
    )

    def add_arguments(self, parser: Parser) -> None:
        """Declare the filters."""
        parser.add_argument("job_name", metavar="<job-name>", nargs="?", help="only this job, in full")
        parser.add_argument("part", metavar="config|ssh", nargs="?", help="of this job, only that")
        parser.add_argument("--name", action="store_true", help="only the names")
        parser.add_argument(
            "--state",
            action="append",
            type=str.upper,
            choices=STATES,
            metavar="S",
            help="only jobs in this state (repeatable)",
        )
        whose = parser.add_mutually_exclusive_group()
        whose.add_argument("--user", metavar="U", help="jobs of this user")
        whose.add_argument("--all-users", action="store_true", help="jobs of everybody")
        parser.add_argument(
            "--vc", "--virtual-cluster", metavar="VC", help="only jobs in this virtual cluster"
        )
        parser.add_argument(
            "--keyword", metavar="K", help="only jobs with this text in name, user or virtual cluster"
        )
        parser.add_argument(
            "--tag", action="append", metavar="T", help="only jobs with this tag (repeatable)"
        )
        parser.add_argument(
            "--limit",
            type=options.whole_number(0),
            default=DEFAULT_LIMIT,
            metavar="N",
            help=f"at most so many, 0 for all (default: {DEFAULT_LIMIT})",
        )
        parser.add_argument(
            "--offset", type=options.whole_number(0), default=0, metavar="N", help="skip so many first"
        )

    def run(self, args: Namespace, context: Context) -> Any:
        """Return the jobs, or with a name what ``job status`` returns."""
        if args.job_name is not None:
            return show_job(context, args.job_name, args.part)
        jobs = context.cluster.jobs(
            name_only=args.name,
            states=tuple(args.state or ()),
            user=args.user,
            all_users=args.all_users,
            virtual_cluster=args.vc,
            keyword=args.keyword,
            tags=tuple(args.tag or ()),
            limit=args.limit,
            offset=args.offset,
        )
        if getattr(jobs, "more", False):
            context.note(
                f"there are more jobs: go on with --offset {args.offset + len(jobs)}, or --limit 0 for all"
            )
        return list(jobs)

    def to_text(self, value: Any, *, width: int | None, paint: Show | None) -> str | None:
        """Show the detail of one job as ``job status`` does."""
        return job_to_text(value, width=width, paint=paint)


class ShowStatus(Command):
    """``opai job status``."""

    details = (
        "`config` shows the document that it was submitted with, `ssh` how to reach its tasks.\n"
        "A job of somebody else is named <user>~<job-name>."
    )
    examples = (
        "opai job status train-1",
        "opai job status alice~train-1 -o json",
        "opai job status train-1 config",
    )

    def add_arguments(self, parser: Parser) -> None:
        """Declare the job and which part of it."""
        options.add_job(parser)
        parser.add_argument("part", metavar="config|ssh", nargs="?", help="of this job, only that")

    def run(self, args: Namespace, context: Context) -> Any:
        """Return the state of the job, or the part that was asked for."""
        return show_job(context, args.job_name, args.part)

    def to_text(self, value: Any, *, width: int | None, paint: Show | None) -> str | None:
        """Show what is true of the job, then its tasks as a table."""
        return job_to_text(value, width=width, paint=paint)


class ShowConfig(Command):
    """``opai job config``."""

    details = "A cluster masks secrets before it gives the document back."
    examples = ("opai job config train-1 > train.yaml",)

    def add_arguments(self, parser: Parser) -> None:
        """Declare the job."""
        options.add_job(parser)

    def run(self, args: Namespace, context: Context) -> Any:
        """Return the protocol document."""
        return context.cluster.job_config(args.job_name)

    def to_text(self, value: Any, *, width: int | None, paint: Show | None) -> str | None:
        """Show YAML."""
        return dump_document(value)


class ShowLogs(Command):
    """``opai job logs``."""

    details = "Text goes to stdout as the tasks wrote it; with -o json or yaml, followed lines go to stderr."
    examples = (
        "opai job logs train-1 --tail 20",
        "opai job logs -f train-1",
        "opai job logs train-1 -t worker -n 2 --stderr",
    )

    def add_arguments(self, parser: Parser) -> None:
        """Declare which task, which stream and how much."""
        options.add_job(parser)
        parser.add_argument("-t", "--task-role", metavar="ROLE", help="only tasks of this role")
        parser.add_argument(
            "-n", "--index", type=options.whole_number(0), metavar="INDEX", help="only this task of a role"
        )
        options.add_streams(parser)
        parser.add_argument("--tail", type=options.whole_number(0), metavar="N", help="only the last lines")
        parser.add_argument("-f", "--follow", action="store_true", help="go on until the job ends")

    def run(self, args: Namespace, context: Context) -> str | None:
        """Return the text; with ``--follow`` nothing, the lines having gone to the stream."""
        choice = {"role": args.task_role, "index": args.index, "stream": args.stream, "tail": args.tail}
        if not args.follow:
            _tell_notes(context, args.job_name)
            return context.cluster.logs(args.job_name, **choice)
        from openpaisdk.cli.following import follow_job

        several = _counts_several(context, args)
        ending = follow_job(context, args.job_name, several_tasks=several, **choice)
        context.note(f"job {args.job_name!r} is {ending['state']}")
        return None

    def to_text(self, value: Any, *, width: int | None, paint: Show | None) -> str | None:
        """Hand the text on unchanged."""
        return value or ""


class WaitForJobs(Command):
    """``opai job wait``."""

    details = "Exit code 3 when one of them did not succeed, 1 when the time ran out."
    examples = ("opai job wait train-1 train-2", "opai job wait train-1 --timeout 3600 -o json")

    def add_arguments(self, parser: Parser) -> None:
        """Declare the jobs and how long."""
        parser.add_argument("job_names", metavar="<job-name>", nargs="+")
        parser.add_argument(
            "--timeout", type=options.seconds, metavar="S", help="longest wait in seconds (default: no limit)"
        )

    def run(self, args: Namespace, context: Context) -> list[dict[str, Any]]:
        """Return how each job ended."""
        try:
            return [dict(job) for job in context.cluster.wait(args.job_names, timeout_s=args.timeout)]
        except KeyboardInterrupt:
            from openpaisdk.cli.following import say_job_goes_on

            say_job_goes_on(context, " ".join(args.job_names), "wait", "wait")
            raise

    def exit_code(self, value: Any) -> int:
        """Tell a job that did not succeed."""
        return max((of_state(job["state"]) for job in value), default=0)


class StopJobs(Command):
    """``opai job stop``."""

    examples = ("opai job stop train-1 train-2",)
    columns = (("NAME", "name"), ("STATE", "state"))

    def add_arguments(self, parser: Parser) -> None:
        """Declare the jobs."""
        parser.add_argument("job_names", metavar="<job-name>", nargs="+")

    def run(self, args: Namespace, context: Context) -> list[dict[str, Any]]:
        """Stop each job; one that cannot be stopped does not keep the others running."""
        states: dict[str, str] = {}
        failures = []
        for name in args.job_names:
            try:
                states[name] = context.cluster.stop(name)["state"]
            except OpenPaiError as exc:
                failures.append((name, exc))
        if failures:
            for name, failure in failures[1:]:
                context.warn(f"job {name!r} was not stopped: {failure}")
            raise failures[0][1]
        listed = _listed(context, states)
        return [{"name": name, **listed.get(name, {}), "state": state} for name, state in states.items()]


def _listed(context: Context, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return jobs by name as ``job list`` shows them, one request for those of one user."""
    of_user: dict[str, dict[str, str]] = {}
    for name in names:
        user, _, plain = name.rpartition("~")
        of_user.setdefault(user, {})[plain] = name
    found: dict[str, dict[str, Any]] = {}
    for user, wanted in of_user.items():
        keyword = next(iter(wanted)) if len(wanted) == 1 else None
        for job in context.cluster.jobs(user=user or None, keyword=keyword, limit=0):
            if job["name"] in wanted:
                found[wanted[job["name"]]] = dict(job)
    return found


def show_job(context: Context, name: str, part: str | None) -> Any:
    """Return the status of a job, or its ``config`` or ``ssh`` part."""
    if part is None:
        return context.cluster.job_status(name)
    if part == "config":
        return context.cluster.job_config(name)
    if part == "ssh":
        return _ssh_addresses(context, name)
    raise UsageError(f"a job has no part {part!r}", hint="leave it out, or write config or ssh")


def _ssh_addresses(context: Context, name: str) -> list[dict[str, Any]]:
    """Return how to reach the tasks that have a port labelled ``ssh`` (rest-api-v2 §5.6)."""
    addresses = []
    for role, tasks in context.cluster.job_status(name)["task_roles"].items():
        for task in tasks:
            ports = (task["ports"] or {}).get("ssh")
            port = ports[0] if isinstance(ports, list) and ports else ports
            if port and task["ip"]:
                command = f"ssh -p {port} root@{task['ip']}"
                addresses.append(
                    {
                        "role": role,
                        "index": task["index"],
                        "ip": task["ip"],
                        "port": int(port),
                        "command": command,
                    }
                )
    return addresses


def job_to_text(value: Any, *, width: int | None, paint: Show | None) -> str | None:
    """Show a status as lines and a table of tasks, a document as YAML; anything else the usual way."""
    if not isinstance(value, dict):
        return None
    if "task_roles" not in value:
        return dump_document(value)
    rest = {key: item for key, item in value.items() if key not in ("task_roles", "notes")}
    for key in ("submitted_at", "started_at", "completed_at"):
        if rest.get(key):
            rest[key] = f"{layout.moment(rest[key])} UTC"
    tasks = [{**task, "role": role} for role, members in value["task_roles"].items() for task in members]
    text = layout.pairs(rest, paint=paint)
    text += "".join(f"note: {layout.cell(note)}\n" for note in value.get("notes") or ())
    return f"{text}\n{layout.table(tasks, _TASK_COLUMNS, width=width, paint=paint)}" if tasks else text


_TASK_COLUMNS = (
    ("ROLE", "role"),
    ("INDEX", "index"),
    ("STATE", "state"),
    ("ATTEMPT", "attempt"),
    ("EXIT", "exit_code"),
    ("USER EXIT", "user_exit_code"),
    ("PHRASE", "exit_phrase"),
    ("IP", "ip"),
    ("PORTS", "ports"),
)


def _tell_notes(context: Context, name: str) -> None:
    """Say what the embedded cluster has to say of how it runs the job; no other has notes."""
    if context.args.quiet or not context.cluster.is_embedded:
        return
    for note in context.cluster.job_status(name).get("notes") or ():
        context.note(f"note: {note}")


def _counts_several(context: Context, args: Namespace) -> bool:
    """Return whether more than one task will be followed."""
    if args.task_role is not None and args.index is not None:
        return False
    from openpaisdk.spec.names import convert_role_name

    roles = context.cluster.job_status(args.job_name)["task_roles"]
    wanted = roles.values() if args.task_role is None else [roles.get(convert_role_name(args.task_role), [])]
    return sum(len(tasks) if args.index is None else 1 for tasks in wanted) > 1
