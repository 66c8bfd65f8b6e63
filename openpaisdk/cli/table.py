# SPDX-License-Identifier: MIT
"""All commands as text, so that help and the search for a command load nothing else."""

from __future__ import annotations

from openpaisdk.constants import VERSION

GROUPS = {
    "cluster": "the clusters that you can use",
    "default": "what commands use when an option is left out",
    "job": "submit, follow and manage jobs",
    "output": "what a job has stored and printed",
    "storage": "files on a cluster's storage, and on others",
    "local": "the cluster that comes with this package",
}

COMMANDS = {
    "cluster": {
        "list": ("cluster:ListClusters", "show the clusters known, the built-in `local` among them"),
        "add": ("cluster:AddCluster", "check the account of a cluster by logging in, and keep it"),
        "remove": ("cluster:RemoveCluster", "forget a cluster"),
        "select": ("cluster:SelectCluster", "use a cluster wherever -a is left out"),
        "login": ("cluster:Login", "log in with a password and keep the token"),
        "logout": ("cluster:Logout", "give the token back and forget it"),
        "info": ("cluster:ShowInfo", "show what the cluster says about itself"),
        "resources": (
            "cluster:ShowResources",
            "show free and used GPUs, CPUs and memory per virtual cluster",
        ),
        "attach-hdfs": ("cluster:AttachHdfs", "add a storage to a cluster"),
    },
    "default": {
        "add": ("default:AddDefaults", "set defaults of this project, or of your account with --global"),
        "list": ("default:ListDefaults", "show every default and where its value comes from"),
        "remove": ("default:RemoveDefault", "unset a default"),
    },
    "job": {
        "list": ("job:ListJobs", "list your jobs, newest first"),
        "status": ("job:ShowStatus", "show state, times, and each task of a job"),
        "config": ("job:ShowConfig", "show the document that a job was submitted with"),
        "submit": ("submit:SubmitJob", "submit a job document"),
        "fast": ("submit:FastJob", "submit one command line as a job"),
        "logs": ("job:ShowLogs", "show or follow what the tasks of a job print"),
        "wait": ("job:WaitForJobs", "wait until jobs have ended"),
        "stop": ("job:StopJobs", "stop jobs"),
        "validate": ("validate:ValidateDocument", "find every problem of a job document, without a network"),
    },
    "output": {
        "list": ("output:ListOutputs", "list the files that a job has stored"),
        "download": ("output:DownloadOutputs", "fetch files that a job has stored"),
        "peek": ("output:PeekOutput", "show what a job has printed so far"),
    },
    "storage": {
        "list": ("storage:ListFiles", "list a folder, or what a pattern matches"),
        "status": ("storage:ShowFile", "show type, size and time of a file or folder"),
        "upload": ("storage:UploadFiles", "store a file or folder"),
        "download": ("storage:DownloadFiles", "fetch a file or folder"),
        "move": ("storage:MoveFile", "rename a file or folder, or move it to another storage"),
        "delete": ("storage:DeleteFiles", "delete a file, or a folder with -r"),
        "mkdir": ("storage:MakeFolder", "make a folder and those above it"),
        "du": ("storage:ShowUsage", "show how much a folder holds"),
        "cat": ("storage:ShowContent", "show what is in files"),
        "tail": ("storage:ShowEnd", "show the end of a file"),
        "list-storage": ("storage:ListStorages", "list the storages of a cluster"),
    },
    "local": {
        "start": ("local:StartLocal", "start the embedded cluster (commands that need it do so themselves)"),
        "stop": ("local:StopLocal", "stop the embedded cluster"),
        "status": ("local:ShowLocalStatus", "tell whether the embedded cluster runs, and where"),
        "reset": ("local:ResetLocal", "delete every job and file of the embedded cluster"),
        "logs": ("local:ShowLocalLogs", "show the end of the embedded cluster's own log"),
        "credentials": (
            "local:ShowCredentials",
            "show what another client needs: address, user, password, token",
        ),
        "user add": ("local_user:AddUser", "let somebody else use the embedded cluster"),
        "user list": ("local_user:ListUsers", "show the users of the embedded cluster"),
        "user remove": ("local_user:RemoveUser", "remove a user; the jobs stay"),
        "user passwd": ("local_user:ChangePassword", "give a user another password"),
    },
}
"""group -> command -> (where its class is below ``openpaisdk.cli.commands``, what it does); a command may be
of two words.
"""

HIDDEN_NAMES = {
    ("cluster", "delete"): "remove",
    ("default", "set"): "add",
    ("default", "unset"): "remove",
    ("job", "sub"): "fast",
}
"""Names of earlier releases and of habit: accepted, and not shown."""

COMMON_OPTIONS = {
    **dict.fromkeys(("-a", "--cluster-alias", "-o", "--format"), True),
    **dict.fromkeys(("-q", "--quiet", "-v", "--verbose", "--debug"), False),
}
"""The options of every command, and whether they take a value."""

_COMMON_HELP = """\
options of every command:
  -a, --cluster-alias ALIAS      which cluster (left out: the default, else the only one, else `local`)
  -o, --format {table,json,yaml}
                                 how stdout shows the value (default: table)
  -q, --quiet                    no progress, no hints
  -v, --verbose                  show HTTP requests, without secrets
  --debug                        show tracebacks
"""


def find_class(group: str, command: str) -> str:
    """Return ``module:Class`` of a command, below ``openpaisdk.cli.commands``."""
    return COMMANDS[group][command][0]


def summary(group: str, command: str) -> str:
    """Return what a command does, in one line."""
    return COMMANDS[group][command][1]


def version_text() -> str:
    """Return what ``opai --version`` shows."""
    return f"opai {VERSION}\n"


def help_text() -> str:
    """Return what ``opai -h`` shows."""
    lines = [f"  {name:<10} {text}" for name, text in GROUPS.items()]
    return (
        "usage: opai <group> <command> [options]\n\n"
        "Describe, submit and follow jobs on OpenPAI clusters, or on the one that comes along.\n\n"
        "groups:\n" + "\n".join(lines) + "\n\n" + _COMMON_HELP + "  -h, --help                     "
        "help on opai, a group or a command\n  --version                      show the version\n\n"
        "examples:\n"
        "  opai job fast --follow python train.py --lr 0.1\n"
        "  opai job list --state RUNNING -o json\n"
        "  opai output download\n"
    )


def group_help_text(group: str) -> str:
    """Return what ``opai <group> -h`` shows."""
    lines = [f"  {name:<12} {text}" for name, (_, text) in COMMANDS[group].items()]
    return (
        f"usage: opai {group} <command> [options]\n\n{GROUPS[group]}\n\n"
        "commands:\n" + "\n".join(lines) + "\n\n" + _COMMON_HELP + "  -h, --help                     "
        f"help; `opai {group} <command> -h` has the command's options and examples\n"
    )
