# SPDX-License-Identifier: MIT
"""``Job``: a protocol document that is built step by step, or loaded from a file."""

from __future__ import annotations

import os
import re

from openpaisdk._secret import MASK
from openpaisdk.constants import ARCHIVE_NAME, EXTRAS_KEY, VERSION
from openpaisdk.errors import SpecError, UsageError
from openpaisdk.spec.names import check_job_name, generate_job_name, parse_memory_mb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from openpaisdk.core import Cluster
    from openpaisdk.job.handle import JobHandle
    from openpaisdk.sources import Selection

DEFAULT_IMAGE = "python:3.11"
FAST_ROLE = "main"
"""Name of the only task role of a job made from one command line."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DEFAULT_IMAGE_NAME = "image"


class Job:
    """A job to be: build it with the ``add_…`` and ``set_…`` methods, or load it; then ``submit``.

    Every builder method returns the job, so that calls can be chained::

        job = Job("train").set_image("python:3.11").add_task_role("main", ["python train.py"], gpu=1)
        handle = job.add_sources("train.py").submit()
    """

    __slots__ = (
        "_document",
        "_file",
        "_marks",
        "_trusted",
        "archive_name",
        "auto_sources",
        "code_from",
        "folder",
        "notes",
        "workspace",
    )

    def __init__(self, name: str | None = None) -> None:
        """Start an empty job; without ``name`` one is made up that is new.

        Raises:
            UsageError: The name is not allowed (protocol-v2 §2).
        """
        self._document: dict[str, Any] = {
            "protocolVersion": 2,
            "name": "",
            "type": "job",
            "prerequisites": [],
            "taskRoles": {},
            "extras": {"submitFrom": f"openpaisdk/{VERSION}"},
        }
        self._begin(trusted=True)
        self.name = generate_job_name() if name is None else name

    def _begin(self, *, trusted: bool, marks: Any = None, file: str | None = None) -> None:
        self._file = file
        self._marks = marks
        self._trusted = trusted
        self.archive_name = ARCHIVE_NAME.format(os.urandom(4).hex())
        """What the packed sources are called on storage: like no other job's."""
        self.code_from: tuple[Cluster, str] | None = None
        """Cluster and name of the job whose sources are sent; see ``take_code_from``."""
        self.folder: str | None = None
        """Folder that relative sources are looked up in; ``None``: the current one when they are packed."""
        self.workspace: str | None = None
        """Folder on storage below which the job gets its own; ``None``: the cluster's."""
        self.auto_sources: list[str] = []
        """Sources that were added because the command names them."""
        self.notes: list[str] = []
        """What the user should be told about how the job was put together."""

    # --- loading ---------------------------------------------------------------------------------

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Job:
        """Read a protocol document (YAML or JSON) from a file.

        Raises:
            SpecError: The text is not YAML as a cluster reads it (protocol-v2 §7), or not a mapping.
            UsageError: The file cannot be read.
        """
        file = os.fspath(path)
        try:
            with open(file, "rb") as stream:
                text = stream.read()
        except OSError as exc:
            raise UsageError(
                f"cannot read the job file {file!r}: {(exc.strerror or str(exc)).lower()}"
            ) from exc
        return cls.from_text(text, file=file)

    @classmethod
    def from_text(cls, text: str | bytes, *, file: str | None = None) -> Job:
        """Read a protocol document (YAML or JSON) from text; ``file`` is what problems call its origin.

        Raises:
            SpecError: The text is not YAML as a cluster reads it (protocol-v2 §7), or not a mapping.
        """
        from openpaisdk.spec.yaml12 import load_yaml

        document, marks = load_yaml(text, file=file)
        return cls._adopt(document, marks=marks, file=file)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Job:
        """Take over a protocol document; the mapping given is not changed later.

        What an earlier submission put before the commands (fetching sources, installing packages) is taken
        out again; ``submit`` puts in what fits the cluster then. Sources are not in a document: see
        ``take_code_from``.

        Raises:
            SpecError: It is not a mapping.
        """
        return cls._adopt(document, marks=None, file=None)

    @classmethod
    def _adopt(cls, document: Any, *, marks: Any, file: str | None) -> Job:
        if not isinstance(document, dict):
            what = f"job spec {file!r}" if file else "a job document"
            raise SpecError(f"{what} must be a mapping, not {type(document).__name__}")
        from openpaisdk.job.prelude import remove_preludes

        job = cls.__new__(cls)
        job._document = _copy(document)
        job._begin(trusted=False, marks=marks, file=file)
        remove_preludes(job._document)
        return job

    # --- building --------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name of the job; assigning one that is not allowed raises ``UsageError``."""
        return str(self._document.get("name", ""))

    @name.setter
    def name(self, name: str) -> None:
        problem = check_job_name(name)
        if problem is not None:
            raise UsageError(f"job name {name!r} {problem}")
        self._document["name"] = name

    @property
    def task_roles(self) -> list[str]:
        """Names of the task roles, in order."""
        roles = self._document.get("taskRoles")
        return list(roles) if isinstance(roles, dict) else []

    def add_task_role(
        self,
        name: str,
        commands: str | Sequence[str],
        *,
        instances: int = 1,
        image: str | None = None,
        cpu: int = 1,
        gpu: int = 0,
        memory_mb: int | str = 1024,
        ports: Mapping[str, int] | None = None,
        retry: int = 0,
        min_failed: int | None = None,
        min_succeeded: int | None = None,
        shm_mb: int | None = None,
        infiniband: bool = False,
    ) -> Job:
        """Add a task role: ``instances`` tasks that run the same commands.

        Args:
            name: Letters, digits and ``_``; best ``[a-z][a-z0-9]*``, which clusters keep as it is.
            commands: Shell command lines, run in order in one bash with ``errexit``.
            image: Docker image of this role; ``None``: the job's (``set_image``).
            memory_mb: MB, or a size such as ``"4g"``.
            ports: Label -> how many ports; ``ssh`` and ``http`` are always there.
            retry: Retries of a single task; a cluster heeds it only with ``set_gang_allocation(False)``.
            min_failed: So many failed tasks fail the job; ``None``: 1, ``-1``: never.
            min_succeeded: So many succeeded tasks let the job succeed; ``None``: all, ``-1``: never.
            shm_mb: Shared memory in MB; ``None``: 512.

        Raises:
            UsageError: The role exists already, or a value makes no sense.
        """
        roles = self._document.setdefault("taskRoles", {})
        if name in roles:
            raise UsageError(f"the job has a task role {name!r} already")
        if not _IDENTIFIER.fullmatch(name):
            raise UsageError(
                f"task role name {name!r} may hold only letters, digits and '_', not a digit first"
            )
        lines = [commands] if isinstance(commands, str) else [str(command) for command in commands]
        if not lines:
            raise UsageError(f"task role {name!r} has no command")
        role: dict[str, Any] = {"instances": _whole(instances, f"instances of {name!r}", least=1)}
        completion = {
            key: _whole(value, key, least=-1)
            for key, value in (("minFailedInstances", min_failed), ("minSucceededInstances", min_succeeded))
            if value is not None
        }
        if completion:
            role["completion"] = completion
        if retry:
            role["taskRetryCount"] = _whole(retry, f"retries of {name!r}", least=0)
        role["dockerImage"] = self._image_name(image)
        role["resourcePerInstance"] = _resources(name, cpu, gpu, memory_mb, ports)
        options = {} if shm_mb is None else {"shmMB": _whole(shm_mb, f"shared memory of {name!r}", least=1)}
        if infiniband:
            options["infiniband"] = True
        if options:
            role["extraContainerOptions"] = options
        role["commands"] = lines
        roles[name] = role
        return self

    def remove_task_role(self, name: str) -> Job:
        """Take a task role out again.

        Raises:
            UsageError: There is no such role.
        """
        if name not in self.task_roles:
            raise UsageError(f"the job has no task role {name!r}", hint=_known("task roles", self.task_roles))
        del self._document["taskRoles"][name]
        return self

    def set_image(self, uri: str, *, auth: Mapping[str, str] | None = None) -> Job:
        """Set the docker image of the roles that have none of their own; ``auth`` logs in to its registry.

        ``auth`` may hold ``username``, ``password`` and ``registryuri``; give the password as
        ``<% $secrets.NAME %>`` and the value with ``set_secrets``, so that it is stored nowhere else.
        """
        self._put_image(_DEFAULT_IMAGE_NAME, uri, auth)
        return self

    def set_parameters(self, parameters: Mapping[str, Any]) -> Job:
        """Add parameters, used in commands as ``<% $parameters.NAME %>``."""
        self._document.setdefault("parameters", {}).update(parameters)
        return self

    def set_secrets(self, secrets: Mapping[str, Any]) -> Job:
        """Add secrets, used in commands as ``<% $secrets.NAME %>``; they are masked in all that is shown."""
        self._document.setdefault("secrets", {}).update(secrets)
        return self

    def set_virtual_cluster(self, name: str) -> Job:
        """Say which virtual cluster the job asks; left out, it is ``default``."""
        self._document.setdefault("defaults", {})["virtualCluster"] = name
        return self

    def set_retry(self, count: int) -> Job:
        """Let the whole job be tried again up to ``count`` times when it fails."""
        self._document["jobRetryCount"] = _whole(count, "the retry count", least=0)
        return self

    def set_description(self, text: str) -> Job:
        """Say what the job is for."""
        self._document["description"] = text
        return self

    def set_gang_allocation(self, gang: bool) -> Job:
        """Start tasks only all together (``True``, how clusters do it unasked) or one by one (``False``)."""
        self._document.setdefault("extras", {})["gangAllocation"] = bool(gang)
        return self

    def set_extras(self, extras: Mapping[str, Any]) -> Job:
        """Add keys to ``extras``, such as ``hivedScheduler`` or runtime plugins (protocol-v2 §6)."""
        self._document.setdefault("extras", {}).update(extras)
        return self

    def add_prerequisite(self, prerequisite: Mapping[str, Any]) -> Job:
        """Add a prerequisite (docker image, script, data or output) as the protocol spells it."""
        self._document.setdefault("prerequisites", []).append(_copy(prerequisite))
        self._trusted = False
        return self

    def add_sources(self, *paths: str | os.PathLike[str]) -> Job:
        """Send files and folders along; in the job they have the same path relative to the working folder.

        The address of a tar file on a storage (``hdfs:///user/alice/images.tar``) is not sent: the job
        fetches it and unpacks it into a folder of its name (``images``).

        Raises:
            SourceError: An address is not that of a tar file on HDFS.
        """
        texts = [os.fspath(path) for path in paths]
        archives = [text for text in texts if "://" in text]
        if archives:
            from openpaisdk.job.archives import checked_archive

            self._extend("archives", list(map(checked_archive, archives)))
        if len(archives) < len(texts):
            self._extend("sources", [text for text in texts if "://" not in text])
        return self

    def add_packages(self, *packages: str) -> Job:
        """Let pip install these before the commands run, into an environment of the task's own."""
        self._extend("packages", packages)
        return self

    def add_outputs(self, *paths: str) -> Job:
        """Store these files, folders or glob patterns when a task ends, however it ends."""
        self._extend("outputs", [_output(path) for path in paths])
        return self

    @property
    def sources(self) -> list[str]:
        """Paths that are packed and sent along."""
        return list(self._recipe().get("sources", ()))

    @property
    def archives(self) -> list[str]:
        """Addresses of tar files on a storage that each task fetches and unpacks."""
        return list(self._recipe().get("archives", ()))

    @property
    def archive_folders(self) -> list[str]:
        """Names of the folders that these are unpacked into."""
        archives = self.archives
        if not archives:
            return []
        from openpaisdk.job.archives import folder_of

        return list(map(folder_of, archives))

    def select_sources(self) -> Selection:
        """Return which files are sent for ``sources``, as they are now; its ``preview()`` says how much.

        Raises:
            SourceError: A source is missing or cannot be packed.
        """
        from openpaisdk.sources import select

        return select(self.sources, folder=self.folder)

    @property
    def packages(self) -> list[str]:
        """Packages that pip installs first."""
        return list(self._recipe().get("packages", ()))

    @property
    def outputs(self) -> list[str]:
        """Files that are stored when a task ends."""
        return list(self._recipe().get("outputs", ()))

    def take_code_from(self, cluster: Cluster, job_name: str) -> Job:
        """Send the same sources that another job was sent with (its name may be ``user~name``)."""
        self.code_from = (cluster, job_name)
        return self

    def _recipe(self) -> dict[str, Any]:
        extras = self._document.get("extras")
        recipe = extras.get(EXTRAS_KEY) if isinstance(extras, dict) else None
        return recipe if isinstance(recipe, dict) else {}

    def _extend(self, key: str, values: Iterable[str]) -> None:
        known = self._document.setdefault("extras", {}).setdefault(EXTRAS_KEY, {}).setdefault(key, [])
        known.extend(value for value in dict.fromkeys(values) if value not in known)

    def _image_name(self, uri: str | None) -> str:
        """Return the name of the prerequisite for ``uri``, adding one when there is none yet."""
        images = {
            item.get("name"): item.get("uri")
            for item in self._document.setdefault("prerequisites", [])
            if item.get("type") == "dockerimage"
        }
        if uri is None:
            if _DEFAULT_IMAGE_NAME not in images:
                self._put_image(_DEFAULT_IMAGE_NAME, DEFAULT_IMAGE, None)
            return _DEFAULT_IMAGE_NAME
        for name, known in images.items():
            if known == uri and name != _DEFAULT_IMAGE_NAME:
                return str(name)
        number = 1
        while f"image{number}" in images:
            number += 1
        self._put_image(f"image{number}", uri, None)
        return f"image{number}"

    def _put_image(self, name: str, uri: str, auth: Mapping[str, str] | None) -> None:
        if not uri or any(character.isspace() for character in uri):
            raise UsageError(f"docker image {uri!r} is not the name of an image")
        image: dict[str, Any] = {"type": "dockerimage", "name": name, "uri": uri}
        if auth is not None:
            image["auth"] = dict(auth)
        items = self._document.setdefault("prerequisites", [])
        for position, item in enumerate(items):
            if item.get("type") == "dockerimage" and item.get("name") == name:
                items[position] = image
                return
        items.append(image)

    # --- one command line --------------------------------------------------------------------------

    @classmethod
    def fast(
        cls,
        name: str | None,
        command: str | Sequence[str],
        *,
        image: str = DEFAULT_IMAGE,
        cpu: int = 1,
        gpu: int = 0,
        memory: int | str = "1g",
        ports: Mapping[str, int] | None = None,
        virtual_cluster: str | None = None,
        sources: Sequence[str] = (),
        packages: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        outputs: Sequence[str] = (),
        retry: int = 0,
        working_directory: str | None = None,
        auto_sources: bool = True,
    ) -> Job:
        """Make a job of one task from one command.

        Args:
            name: ``None``: one is made up.
            command: A shell command line, or words: one word is a command line too, several are an argument
                list that is handed over exactly; ``<% … %>`` is rendered in both.
            memory: MB, or a size such as ``"4g"``.
            env: Variables that are exported before the command.
            secrets: The same, without their values standing in any command.
            working_directory: Where relative sources are looked up; ``None``: the current folder.
            auto_sources: Whether files under it that the command names by a relative path are sent along
                unless an ignore file excludes them; ``auto_sources`` and ``notes`` of the job say which.

        Raises:
            UsageError: The command is empty, or a name or number is not allowed.
        """
        from openpaisdk.job.commands import command_lines, export_lines

        words = [command] if isinstance(command, str) else [str(word) for word in command]
        job = cls(name)
        job.folder = working_directory
        job._document["extras"][EXTRAS_KEY] = {}
        job.set_image(image)
        if parameters:
            job.set_parameters(parameters)
        lines = export_lines(env or {}, list(secrets or ()), parameters)
        job.add_task_role(
            FAST_ROLE,
            [*lines, command_lines(words, parameters)],
            cpu=cpu,
            gpu=gpu,
            memory_mb=memory,
            ports=ports,
        )
        if secrets:
            job.set_secrets(secrets)
        if virtual_cluster:
            job.set_virtual_cluster(virtual_cluster)
        if retry:
            job.set_retry(retry)
        if sources:
            job.add_sources(*sources)
        if packages:
            job.add_packages(*packages)
        if outputs:
            job.add_outputs(*outputs)
        if auto_sources:
            job._add_named_files(words)
        return job

    def _add_named_files(self, words: Sequence[str]) -> None:
        from openpaisdk.job.commands import named_paths

        folder = self.folder or os.getcwd()
        named = [path for path in named_paths(words) if os.path.isfile(os.path.join(folder, path))]
        if not named:
            return
        from openpaisdk.sources import choose_named

        given = [*self.sources, *self.archive_folders]
        self.auto_sources, left_out = choose_named(folder, named, given=given)
        if self.auto_sources:
            self.add_sources(*self.auto_sources)
            self.notes.append(f"sending {', '.join(self.auto_sources)}: the command names it")
        self.notes += [f"not sending {path}: {reason}" for path, reason in left_out]

    # --- looking at it and writing it ----------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return the protocol document as it stands, secrets included, without what ``submit`` adds to it."""
        return _copy_of_dict(self._document)

    def to_yaml(self) -> str:
        """Return the document as YAML, secrets included, that clusters read and mask as they should."""
        from openpaisdk.spec.yaml12 import dump_yaml

        text: str = dump_yaml(self._document)
        return text

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the document as YAML; readable only for its owner when there are secrets in it."""
        from openpaisdk._files import replace_file

        private = bool(self._document.get("secrets")) or masked(self._document) != self._document
        replace_file(os.fspath(path), self.to_yaml().encode(), mode=0o600 if private else 0o644)

    def preview(self, show_secrets: bool = False, *, cluster: Cluster | str | None = None) -> dict[str, Any]:
        """Return the document exactly as ``submit`` would send it; nothing is sent.

        Args:
            show_secrets: Leave secrets and registry passwords readable instead of ``***``.
            cluster: Where it would be sent; matters only for jobs with sources, packages or outputs.

        Raises:
            SpecError: The document is not valid.
            SourceError: A source cannot be packed.
        """
        from openpaisdk.job.submission import prepare

        document = prepare(self, cluster).document
        return document if show_secrets else masked(document)

    def validate(self) -> list[dict[str, Any]]:
        """Return every problem of the document, warnings among them; an empty list is the best answer."""
        from openpaisdk.spec.validate import validate_document

        return list(validate_document(self._document, marks=self._marks, file=self._file))

    def check(self) -> None:
        """Raise ``SpecError`` with all ``problems`` when a cluster would refuse the document.

        Documents built by these methods were checked on the way and cost nothing here.
        """
        if self._trusted and self._document["taskRoles"]:
            return
        problems = self.validate()
        errors = [problem for problem in problems if problem["severity"] == "error"]
        if errors:
            raise SpecError(_summary(self._file or self.name, errors), problems=problems)

    def update(self, path: str, value: Any) -> Job:
        """Set one field by its path, such as ``taskRoles.worker.instances`` (``::`` separates as well).

        A text ``value`` is read as YAML, so that ``2`` is a number; where the field is a text it stays one.

        Raises:
            UsageError: There is no such field; the hint names the nearest one.
        """
        from openpaisdk.job.fields import set_field

        set_field(self._document, path, value)
        self._trusted = False
        self._marks = None
        return self

    def submit(self, cluster: Cluster | str | None = None) -> JobHandle:
        """Send the job to a cluster and return a handle on it.

        Problems are raised before anything is uploaded, and what was uploaded is removed when the cluster
        then refuses the job.

        Args:
            cluster: A ``Cluster`` or an alias; ``None``: the default cluster.

        Raises:
            SpecError: The document is not valid.
            SourceError: A source cannot be packed.
            JobExistsError: The name is taken.
            ClusterError: The cluster is out of reach or refuses the job.
        """
        from openpaisdk.job.submission import submit

        return submit(self, cluster)

    def __repr__(self) -> str:
        return f"Job({self.name!r}, task_roles={self.task_roles!r})"


def masked(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a document with secrets and registry passwords shown as ``***``."""
    copy = _copy_of_dict(document)
    secrets = copy.get("secrets")
    if isinstance(secrets, dict):
        copy["secrets"] = dict.fromkeys(secrets, MASK)
    elif secrets is not None:
        copy["secrets"] = MASK
    items = copy.get("prerequisites")
    for item in items if isinstance(items, list) else []:
        auth = item.get("auth") if isinstance(item, dict) else None
        # a reference to a secret is not the secret
        if isinstance(auth, dict) and auth.get("password") and "<%" not in str(auth["password"]):
            auth["password"] = MASK
    return copy


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copy(item) for item in value]
    return value


def _copy_of_dict(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(item) for key, item in value.items()}


def _summary(what: str, errors: Sequence[Mapping[str, Any]]) -> str:
    many = "problem" if len(errors) == 1 else "problems"
    lines = [f"  {error['path'] or 'document'}: {error['message']}" for error in errors]
    return "\n".join([f"job spec {what!r} has {len(errors)} {many}", *lines])


def _whole(value: Any, what: str, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(f"{what} must be a whole number, at least {least}, not {value!r}")
    return value


def _resources(
    role: str, cpu: int, gpu: int, memory_mb: int | str, ports: Mapping[str, int] | None
) -> dict[str, Any]:
    resources: dict[str, Any] = {
        "cpu": _whole(cpu, f"cpu of {role!r}", least=1),
        "memoryMB": parse_memory_mb(memory_mb)
        if isinstance(memory_mb, str)
        else _whole(memory_mb, f"memory of {role!r} in MB", least=1),
        "gpu": _whole(gpu, f"gpu of {role!r}", least=0),
    }
    for label, count in (ports or {}).items():
        if not _IDENTIFIER.fullmatch(label):
            raise UsageError(f"port label {label!r} may hold letters, digits and '_', no digit first")
        _whole(count, f"number of {label!r} ports", least=1)
    if ports:
        resources["ports"] = dict(ports)
    return resources


def _output(path: str) -> str:
    """Return the declared output in its plain form; it must stay below the working folder of the task."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts or not parts or any(character in path for character in "\0\n"):
        raise UsageError(
            f"output {path!r} must be a path below the job's working folder",
            hint="write other files into $PAI_SDK_JOB_OUTPUT_DIR, all of it is stored",
        )
    return "/".join(parts)


def _known(what: str, names: Sequence[str]) -> str | None:
    return f"known {what}: {', '.join(names)}" if names else None
