# SPDX-License-Identifier: MIT
"""A cluster as users of Python and the command line see it: the facade over REST and storage."""

from __future__ import annotations

import os
import time

from openpaisdk._secret import Secret
from openpaisdk.constants import BODY_LIMIT_BYTES, LOCAL_ALIAS
from openpaisdk.errors import (
    ClusterConnectionError,
    ClusterError,
    ConfigError,
    JobExistsError,
    JobNotFoundError,
    LocalClusterError,
    SpecError,
    WaitTimeoutError,
)
from openpaisdk.rest import replies
from openpaisdk.rest.client import RestClient
from openpaisdk.rest.urls import encode_query, is_loopback, quote, split_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from openpaisdk.rest.transport import Transport
    from openpaisdk.storage.base import Storage

CLUSTER_URI_VARIABLE = "PAI_SDK_CLUSTER_URI"
"""In a job: address of the cluster it runs on, for ``Cluster.from_env``."""
CLUSTER_TOKEN_VARIABLE = "PAI_SDK_CLUSTER_TOKEN"
"""In a job that was given one: a token of the cluster it runs on."""

_MOST_JOBS_AT_ONCE = 50000
_LONG_POLL_S = 30.0
_FIRST_LOOK_S = 0.5
_LONGEST_LOOK_S = 10.0
_JOB_MARKS = ("PAI_CONTAINER_ID", "PAI_CURRENT_TASK_ROLE_NAME")


class JobList(list):  # type: ignore[type-arg]
    """A list of jobs; ``more`` tells whether the cluster has further ones beyond it."""

    more: bool = False


class Cluster:
    """One cluster, entered as one user.

    Nothing is sent before a method needs an answer; then a token that was given is used, else one is
    fetched with user and password and kept in memory.

    Args:
        pai_uri: Address of the cluster's web page or of its rest-server.
        alias: Name of the cluster among those of this user.
        user: Login name.
        password: Password, to fetch and renew tokens.
        token: A token to begin with.
        hdfs_web_uri: Address of the cluster's WebHDFS.
        verify: Whether certificates are checked, or the path of a CA bundle.
        storages: Further storages by alias.
        workspace: Folder on storage below which jobs have theirs; ``/user/<user>`` unless given.
        transport: What sends requests, for tests.
        sleep: Waits for so many seconds, for tests.
    """

    def __init__(
        self,
        pai_uri: str | None = None,
        *,
        alias: str = "",
        user: str | None = None,
        password: str | Secret | None = None,
        token: str | Secret | None = None,
        hdfs_web_uri: str | None = None,
        verify: bool | str = True,
        storages: Mapping[str, Any] | None = None,
        workspace: str | None = None,
        transport: Transport | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.alias = alias
        self.hdfs_web_uri = hdfs_web_uri
        self.storages = dict(storages or {})
        self._pai_uri = pai_uri.rstrip("/") if pai_uri else None
        self._user = user
        self._password = _secret(password)
        self._token = _secret(token)
        self._verify = verify
        self._workspace = workspace
        self._transport = transport
        self._sleep = sleep
        self._is_embedded: bool | None = None if pai_uri else True
        self._client: RestClient | None = None
        self._trace: Callable[[str], object] | None = None

    def __repr__(self) -> str:
        return f"<Cluster {self.alias or self._pai_uri!r} user={self._user!r}>"

    # --- finding a cluster ---------------------------------------------------------------------

    @classmethod
    def from_alias(cls, alias: str | None = None, **options: Any) -> Cluster:
        """Return the cluster known under ``alias``; by default the one that the settings choose.

        Left out, it is the ``cluster-alias`` setting, else the only cluster defined, else the embedded one.

        Raises:
            UnknownClusterError: No cluster has this alias.
            ConfigError: None was named and several are defined, or a file of settings is damaged.
        """
        from openpaisdk.config.clusters import ClusterBook

        book = ClusterBook.load()
        if alias is None:
            from openpaisdk.config.settings import Settings

            alias = Settings.load().get("cluster-alias")
        return cls._from_book(book, book.choose(alias), **options)

    @classmethod
    def from_json(cls, path: str, alias: str | None = None) -> tuple[Cluster, str]:
        """Return a cluster of the clusters file ``path``, and its alias.

        Raises:
            UnknownClusterError: No cluster has this alias.
            ConfigError: The file is damaged, or ``alias`` is left out and there are several.
        """
        from openpaisdk.config.clusters import ClusterBook

        book = ClusterBook.load(path)
        chosen = book.choose(alias)
        return cls._from_book(book, chosen), chosen

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Cluster:
        """Return, inside a job, the cluster that the job runs on.

        Raises:
            ConfigError: The environment does not name a cluster.
        """
        from openpaisdk.constants import TOKEN_FILE_VARIABLE, WORKSPACE_VARIABLE

        variables = os.environ if environ is None else environ
        uri = variables.get(CLUSTER_URI_VARIABLE)
        token = variables.get(CLUSTER_TOKEN_VARIABLE)
        workspace, job_folder = None, variables.get(WORKSPACE_VARIABLE, "")
        scheme, _, place = job_folder.partition("://")
        host, slash, path = place.partition("/")
        if slash:
            workspace = "/" + path.rpartition("/jobs/")[0]
        if not uri and scheme == "webhdfs" and is_loopback(host.rpartition("@")[2].partition(":")[0]):
            # The embedded cluster serves storage and API at one address.
            uri = "http://" + host.rpartition("@")[2]
        if not uri:
            raise ConfigError(
                f"no cluster is named in the environment ({CLUSTER_URI_VARIABLE} is not set)",
                hint="outside of jobs use from_alias; a job must have been submitted by this package",
            )
        if not token and variables.get(TOKEN_FILE_VARIABLE):
            token = _read_token(variables[TOKEN_FILE_VARIABLE])
        user = variables.get("PAI_USER_NAME") or variables.get("PAI_USERNAME")
        return cls(
            uri,
            alias=LOCAL_ALIAS if not variables.get(CLUSTER_URI_VARIABLE) else "",
            user=user,
            token=token,
            workspace=workspace,
        )

    @classmethod
    def _from_book(cls, book: Any, alias: str, **options: Any) -> Cluster:
        entry = book.get(alias)
        uri = entry.get("pai_uri")
        if not uri and (alias != LOCAL_ALIAS or entry):
            raise ConfigError(
                f"cluster {alias!r} has no pai_uri", hint=f"opai cluster edit {alias} --pai-uri http://…"
            )
        user = entry.get("user")
        if user is None and entry.get("passwd"):
            from openpaisdk.config.settings import Settings

            user = Settings.load().get("user")
        return cls(
            uri,
            alias=alias,
            user=user,
            password=entry.get("passwd"),
            token=entry.get("token"),
            hdfs_web_uri=entry.get("hdfs_web_uri"),
            verify=entry.get("verify", True),
            storages=entry.get("storages"),
            workspace=entry.get("workspace"),
            **options,
        )

    # --- what it is ----------------------------------------------------------------------------

    @property
    def pai_uri(self) -> str:
        """Address of the cluster; asking the embedded one for it starts it."""
        if self._pai_uri is None:
            return self.rest.origin
        return self._pai_uri

    @property
    def user(self) -> str:
        """Login name; where only a token is known the cluster is asked for it."""
        if self._user is None:
            client = self.rest  # the embedded cluster's server file names its user
            if self._user is None:
                self._user = client.user = str(client.check_token().get("username", ""))
        return self._user

    @property
    def is_embedded(self) -> bool:
        """Whether this is the cluster that comes with this package."""
        if self._is_embedded is None:
            host = split_url(self._pai_uri or "").host
            self._is_embedded = is_loopback(host) and bool(self.rest.info().get("embedded"))
        return self._is_embedded

    @property
    def workspace(self) -> str:
        """Folder on storage below which this user's jobs have theirs."""
        if self._workspace is None:
            from openpaisdk.config.settings import Settings

            self._workspace = Settings.load().get("workspace") or f"/user/{self.user}"
        return self._workspace

    @property
    def trace(self) -> Callable[[str], object] | None:
        """Called with a line for each HTTP request, without secrets, where set."""
        return self._trace

    @trace.setter
    def trace(self, report: Callable[[str], object] | None) -> None:
        self._trace = report
        if self._client is not None:
            self._client.trace = report

    @property
    def rest(self) -> RestClient:
        """The client of the cluster's REST API; the embedded cluster is started where need be."""
        if self._client is None:
            self._client = self._open_client()
            self._client.trace = self._trace
        return self._client

    def _open_client(self) -> RestClient:
        options: dict[str, Any] = {"transport": self._transport, "sleep": self._sleep, "verify": self._verify}
        if self._pai_uri is not None:
            label = f"cluster {self.alias!r}" if self.alias else "the cluster"
            return RestClient(
                self._pai_uri,
                user=self._user,
                password=self._password,
                token=self._token,
                label=label,
                **options,
            )
        from openpaisdk import embedded

        server = embedded.read_server_file()
        if server is None or not embedded.may_run(server):
            server = embedded.ensure_running()
        self._user = str(server.get("user", ""))
        return RestClient(
            server["uri"],
            user=self._user,
            token=Secret(server["token"]),
            label="the embedded cluster",
            revive=_revive_embedded,
            **options,
        )

    # --- the cluster ---------------------------------------------------------------------------

    def login(self) -> dict[str, Any]:
        """Log in and return ``{"user", "admin", "token"}``; the token, a ``Secret``, may be stored.

        With a token and no password the token is checked instead.

        Raises:
            AuthenticationError: User, password or token are wrong.
        """
        client = self.rest
        if self._password is None:
            known = client.check_token()
            return {"user": known.get("username"), "admin": bool(known.get("admin")), "token": client.token()}
        reply = client.login()
        return {"user": reply.get("user"), "admin": bool(reply.get("admin")), "token": client.token()}

    def logout(self) -> None:
        """Make the token in use invalid."""
        self.rest.logout()

    def info(self) -> dict[str, Any]:
        """Return what the cluster says of itself: name, version, launcher, way of logging in."""
        return self.rest.info()

    def resources(self) -> list[dict[str, Any]]:
        """Return used, free and total GPUs, CPUs and memory (MB) of each virtual cluster."""
        found = self.rest.virtual_clusters()
        return [
            replies.virtual_cluster(name, value) for name, value in found.items() if isinstance(value, dict)
        ]

    # --- jobs ----------------------------------------------------------------------------------

    def jobs(
        self,
        name_only: bool = False,
        *,
        states: Sequence[str] = (),
        user: str | None = None,
        all_users: bool = False,
        virtual_cluster: str | None = None,
        keyword: str | None = None,
        tags: Sequence[str] = (),
        limit: int = 50,
        offset: int = 0,
    ) -> JobList:
        """List jobs, the newest first.

        Args:
            name_only: Return names instead of dicts.
            states: Only jobs in one of these states.
            user: Only jobs of this user; by default the own ones.
            all_users: Jobs of everybody.
            virtual_cluster: Only jobs of this virtual cluster.
            keyword: Only jobs with this text in their name, user or virtual cluster.
            tags: Only jobs that have one of these tags.
            limit: Longest list; 0 for all jobs.
            offset: How many to leave out at the beginning.

        Returns:
            A list whose ``more`` tells whether there are further jobs.
        """
        if limit < 0 or offset < 0:
            raise ClusterError("limit and offset must not be negative")
        query = {
            "username": None if all_users else user or self.user,
            "state": ",".join(states).upper() or None,
            "vc": virtual_cluster,
            "keyword": keyword,
            "tagsContain": ",".join(tags) or None,
        }
        items, more = self._list(query, limit, offset)
        now_ms = time.time() * 1000
        found = JobList(
            item.get("name") if name_only else replies.job_item(item, now_ms=now_ms) for item in items
        )
        found.more = more
        return found

    def _list(self, query: dict[str, Any], limit: int, offset: int) -> tuple[list[dict[str, Any]], bool]:
        """Return a page of jobs as the server lists them, and whether there is more behind it."""
        if limit:
            # One more than wanted tells whether there are more, without the server counting all of them.
            ask = min(limit + 1, _MOST_JOBS_AT_ONCE)
            items = self.rest.list_jobs(**query, limit=ask, offset=offset or None)
            if len(items) > ask:  # servers before 1.2 know no paging
                items = items[offset:]
            return items[:limit], len(items) > limit
        found: list[dict[str, Any]] = []
        while True:
            page = self.rest.list_jobs(**query, limit=_MOST_JOBS_AT_ONCE, offset=offset + len(found) or None)
            found += page
            if len(page) < _MOST_JOBS_AT_ONCE:
                return found, False

    def job_status(self, name: str) -> dict[str, Any]:
        """Return how a job and each of its tasks stand, in the form of ``opai job status``.

        Raises:
            JobNotFoundError: The cluster has no such job.
        """
        detail = self.job_detail(name)
        return replies.job_status(detail, link=self.link(name))

    def job_detail(self, name: str) -> dict[str, Any]:
        """Return a job as the server describes it (rest-api-v2 §5.3).

        Raises:
            JobNotFoundError: The cluster has no such job.
        """
        return self.rest.job_detail(self.job_id(name))

    def job_config(self, name: str) -> dict[str, Any]:
        """Return the document of a job; its secrets are masked by the server.

        Raises:
            JobNotFoundError: The cluster has no such job.
        """
        return self.rest.job_config(self.job_id(name))

    def job_events(self, name: str) -> list[dict[str, Any]]:
        """Return the events of a job, the newest first, as ``{"at", "type", "reason", "message",
        "task"}``."""
        return [replies.job_event(item) for item in self.rest.job_events(self.job_id(name))]

    def job_id(self, name: str) -> str:
        """Return ``user~name`` for a name that may already have that form."""
        return name if "~" in name else f"{self.user}~{name}"

    def submit(self, document: dict[str, Any]) -> dict[str, Any]:
        """Submit a job document of protocol v2 and return ``{"name", "user", "cluster", "link"}``.

        Raises:
            JobExistsError: There is a job of this name already.
            SpecError: The document is too large, or the cluster refuses it.
            PermissionDeniedError: The virtual cluster is not the user's, or does not exist.
        """
        from openpaisdk.spec.wire import dump_wire

        name = str(document.get("name", ""))
        text = dump_wire(document)
        size = len(text.encode())
        if size > BODY_LIMIT_BYTES:
            raise SpecError(
                f"job document {name!r} has {size} bytes, a cluster takes {BODY_LIMIT_BYTES} at most",
                hint="put long scripts and data into files: the job's sources or storage",
            )
        reply = self._send_document(text, document, name)
        link = reply.get("link")
        return {
            "name": name,
            "user": self.user,
            "cluster": self.alias,
            "link": link if isinstance(link, str) else self.link(name),
        }

    def _send_document(self, text: str, document: dict[str, Any], name: str) -> dict[str, Any]:
        client = self.rest
        try:
            return client.submit_job(text, job=name)
        except ClusterConnectionError as exc:
            if not getattr(exc.__cause__, "sent", False):
                raise
        except ClusterError as exc:
            if exc.status not in (502, 503, 504):
                raise
        # The answer was lost. A second request would meet the job that the first one made (rest-api-v2 §16).
        if self._has_job_of(document, name):
            return {}
        try:
            return client.submit_job(text, job=name)
        except JobExistsError:
            if self._has_job_of(document, name):
                return {}
            raise

    def _has_job_of(self, document: dict[str, Any], name: str) -> bool:
        """Tell whether the cluster has a job of this name and of this very document."""
        try:
            config = self.job_config(name)
        except JobNotFoundError:
            return False
        return _comparable(config) == _comparable(document)

    def stop(self, name: str) -> dict[str, Any]:
        """Ask the cluster to stop a job and return ``{"name", "state"}``; a finished job stays as it is.

        Raises:
            JobNotFoundError: The cluster has no such job.
            PermissionDeniedError: The job is somebody else's.
        """
        from openpaisdk.spec.names import FINAL_STATES

        job = self.job_id(name)
        refused: ClusterError | None = None
        try:
            self.rest.set_execution_type(job, "STOP")
        except ClusterError as exc:
            if exc.status != 500:
                raise
            refused = exc  # what a server answers for jobs that ended a while ago (rest-api-v2 §16)
        state = replies.job_result(self.rest.job_detail(job), name)["state"]
        if refused is not None and state not in FINAL_STATES:
            raise refused
        # The state lags behind the request.
        return {"name": name, "state": state if state in FINAL_STATES else "STOPPING"}

    def add_tag(self, name: str, tag: str) -> None:
        """Put a tag on a job."""
        self.rest.add_tag(self.job_id(name), tag)

    def remove_tag(self, name: str, tag: str) -> None:
        """Take a tag off a job."""
        self.rest.delete_tag(self.job_id(name), tag)

    # --- waiting and logs ----------------------------------------------------------------------

    def wait(self, names: Iterable[str] | str, timeout_s: float | None = None) -> list[dict[str, Any]]:
        """Block until every job has ended; return ``name, state, exit_code, user_exit_code`` of each.

        A failed job is an answer, not an error. The embedded cluster answers at the moment of the end;
        others are asked again and again, at growing intervals up to ten seconds.

        Args:
            names: The jobs.
            timeout_s: Longest wait in seconds; ``None`` waits for ever, ``0`` looks once.

        Raises:
            JobNotFoundError: The cluster has no such job.
            WaitTimeoutError: Time ran out; ``last`` is what was seen last.
        """
        wanted = [names] if isinstance(names, str) else list(names)
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        look = self._wait_embedded if self.is_embedded else self._wait_by_looking
        results, is_done = look(wanted, deadline)
        if not is_done:
            left = sum(1 for result in results if not _is_final(result))
            what = f"job {wanted[0]!r} has" if len(wanted) == 1 else f"{left} of {len(wanted)} jobs have"
            raise WaitTimeoutError(
                f"{what} not ended within {timeout_s:g} s", last=results, hint="it goes on; wait for it again"
            )
        return results

    def _wait_embedded(self, names: list[str], deadline: float | None) -> tuple[list[dict[str, Any]], bool]:
        if not names:
            return [], True
        ids = [self.job_id(name) for name in names]
        may_start = True
        while True:
            left_s = (
                _LONG_POLL_S if deadline is None else max(0.0, min(_LONG_POLL_S, deadline - time.monotonic()))
            )
            reply = self.rest.extension(
                "POST",
                "/wait",
                {"jobs": ids, "timeout_s": left_s, "mode": "all"},
                job=names[0] if len(names) == 1 else None,
                may_start=may_start,
                read_timeout_s=left_s + 30,
            )
            may_start = False  # a server that is stopped while we wait stays stopped
            jobs = reply.get("jobs", {})
            results = [_result(name, jobs.get(job, {})) for name, job in zip(names, ids, strict=True)]
            if reply.get("done"):
                return results, True
            if deadline is not None and time.monotonic() >= deadline:
                return results, False

    def _wait_by_looking(self, names: list[str], deadline: float | None) -> tuple[list[dict[str, Any]], bool]:
        seen: dict[str, dict[str, Any]] = {}
        pause_s = _FIRST_LOOK_S
        while True:
            for name in names:
                if name not in seen or not _is_final(seen[name]):
                    seen[name] = replies.job_result(self.job_detail(name), name)
            results = [seen[name] for name in names]
            if all(_is_final(result) for result in results):
                return results, True
            left_s = pause_s if deadline is None else min(pause_s, deadline - time.monotonic())
            if left_s <= 0:
                return results, False
            self._sleep(left_s)
            pause_s = min(_LONGEST_LOOK_S, pause_s * 1.4)

    def logs(
        self,
        name: str,
        role: str | None = None,
        index: int | None = None,
        stream: str = "all",
        tail: int | None = None,
    ) -> str:
        """Return what the tasks of a job have written in their latest attempt.

        Args:
            name: The job.
            role: Only this task role, in either spelling.
            index: Only tasks of this index.
            stream: ``all``, ``stdout`` or ``stderr``.
            tail: Only so many lines at the end of each log.

        Raises:
            JobNotFoundError: The cluster has no such job.
            ClusterError: The job has no such role or task.
        """
        from openpaisdk.rest.logs import choose_tasks, read_log

        tasks = choose_tasks(self.job_detail(name), role, index, job=name)
        texts = [
            (task, read_log(self.rest, task, stream, tail) if task["has_begun"] else "") for task in tasks
        ]
        if len(texts) == 1:
            return texts[0][1]
        return "".join(
            f"==> {task['role']}-{task['index']} <==\n{_whole_lines(text)}" for task, text in texts
        )

    def follow(
        self,
        name: str,
        role: str | None = None,
        index: int | None = None,
        stream: str = "all",
        tail: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Give what happens to a job as events until it has ended.

        Events are dicts whose ``type`` is ``log`` (``role``, ``index``, ``attempt``, ``text``), ``note``
        (``text``),
        ``state`` (``state``) and, last, ``end`` (``state``, ``exit_code``, ``user_exit_code``).

        Raises:
            JobNotFoundError: The cluster has no such job.
            ClusterConnectionError: The connection broke before the job ended.
        """
        if self.is_embedded:
            yield from self._follow_embedded(name, role, index, stream, tail)
            return
        from openpaisdk.rest.logs import Follower

        follower = Follower(
            self.rest, self.job_id(name), role=role, index=index, stream=stream, tail=tail, sleep=self._sleep
        )
        yield from follower.events()

    def _follow_embedded(
        self, name: str, role: str | None, index: int | None, stream: str, tail: int | None
    ) -> Iterator[dict[str, Any]]:
        import json

        query = [
            ("job", self.job_id(name)),
            ("role", role),
            ("index", index),
            ("stream", stream),
            ("tail", tail),
        ]  # A task may be silent for as long as it likes.
        for line in self.rest.stream_lines("/follow" + encode_query(query), job=name, read_timeout_s=86400.0):
            if not line.strip():
                continue
            event = json.loads(line)
            yield event
            if event.get("type") == "end":
                return
        raise ClusterConnectionError(
            f"the embedded cluster stopped while job {name!r} was followed",
            hint=f"opai job logs {name} -f goes on",
        )

    def link(self, name: str) -> str:
        """Return the address of a job's page; the embedded cluster's is good for ten minutes and one use."""
        job = self.job_id(name)
        if self.is_embedded:
            try:
                link = self.rest.extension("POST", "/links", {"job": job}, job=name).get("link")
            except ClusterError as exc:
                if exc.status != 404 or isinstance(exc, JobNotFoundError):
                    raise
                link = None
            return link if isinstance(link, str) else f"{self.rest.origin}/jobs/{quote(job)}"
        user, _, job_name = job.partition("~")
        return (
            self.rest.gateway + "/job-detail.html" + encode_query([("username", user), ("jobName", job_name)])
        )

    # --- storage -------------------------------------------------------------------------------

    def storage(self, alias: str | None = None) -> Storage:
        """Return the cluster's default storage, or one of its further storages.

        Raises:
            ConfigError: The cluster has no such storage.
        """
        from openpaisdk.storage.registry import open_storage

        if alias is None and self.is_embedded:
            client = self.rest
            return open_storage(f"{client.origin}/webhdfs/v1", user=self.user, token=client.token())
        uri = self._storage_uri(alias)
        return open_storage(uri, user=self.user, verify=self._verify)

    def _storage_uri(self, alias: str | None) -> str:
        entries = {name: value for name, value in self.storages.items() if isinstance(value, dict)}
        if alias is not None:
            if alias not in entries:
                known = ", ".join(entries) or "none"
                raise ConfigError(
                    f"cluster {self.alias!r} has no storage {alias!r} (known: {known})",
                    hint="opai cluster attach-hdfs adds one",
                )
            return _uri_of(entries[alias], alias)
        for name, entry in entries.items():
            if entry.get("default"):
                return _uri_of(entry, name)
        if self.hdfs_web_uri:
            return self.hdfs_web_uri
        if len(entries) == 1:
            name, entry = next(iter(entries.items()))
            return _uri_of(entry, name)
        raise ConfigError(
            f"no storage is known for cluster {self.alias!r}",
            hint="opai cluster attach-hdfs --storage-alias hdfs --web-hdfs-uri http://host:9870 --default",
        )


Client = Cluster
OpenPAIClient = Cluster


def in_job_container(variable: str | None = None) -> bool:
    """Tell whether this program runs inside a job of OpenPAI (0.x, 1.x or the embedded cluster).

    Args:
        variable: Look for this environment variable instead of the platform's own.
    """
    return any(os.environ.get(name) for name in ((variable,) if variable else _JOB_MARKS))


def stop_local(mode: str = "refuse", *, timeout_s: float = 60.0) -> dict[str, Any]:
    """Stop the embedded cluster and return its status; one that does not run stays so.

    Args:
        mode: What becomes of running tasks: ``refuse`` to stop, ``kill`` them, or ``leave`` them running.
        timeout_s: How long to wait for the server to end.

    Raises:
        LocalClusterError: Tasks are running and ``mode`` is ``refuse``, or the server does not end.
    """
    from openpaisdk import embedded

    server = embedded.read_server_file()
    if server is None or not embedded.answers(server):
        return embedded.status()
    client = RestClient(server["uri"], token=Secret(server["token"]), label="the embedded cluster")
    try:
        client.extension("POST", "/shutdown", {"mode": mode}, may_start=False)
    except ClusterError as exc:
        if exc.status != 409:
            raise
        raise LocalClusterError(
            f"the embedded cluster is not stopped: {exc.message}",
            hint="--kill ends the tasks, --leave lets them run until the next start takes them up",
        ) from exc
    if not embedded.wait_gone(int(server["pid"]), timeout_s):
        raise LocalClusterError(f"the embedded cluster did not end within {timeout_s:g} s")
    return embedded.status()


def local_credentials() -> dict[str, Any]:
    """Return address, user, password and token of the embedded cluster, starting it if need be."""
    return Cluster(alias=LOCAL_ALIAS).rest.extension("GET", "/credentials")


def _revive_embedded(because: str) -> tuple[str, Secret] | None:
    """Return where the embedded cluster is now, starting it unless only its token was refused."""
    from openpaisdk import embedded

    server = embedded.ensure_running() if because == "refused" else embedded.read_server_file()
    return None if server is None else (server["uri"], Secret(server["token"]))


def _secret(value: str | Secret | None) -> Secret | None:
    return Secret(value) if isinstance(value, str) and value else value if isinstance(value, Secret) else None


def _read_token(path: str) -> str | None:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip() or None
    except (OSError, ValueError):
        return None


def _comparable(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document without what a server does not give back: secrets, and keys that are null."""
    return {key: value for key, value in document.items() if key != "secrets" and value is not None}


def _result(name: str, value: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "state": value.get("state", "UNKNOWN"),
        "exit_code": value.get("exit_code"),
        "user_exit_code": value.get("user_exit_code"),
    }


def _is_final(result: dict[str, Any]) -> bool:
    from openpaisdk.spec.names import FINAL_STATES

    return result["state"] in FINAL_STATES


def _whole_lines(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


def _uri_of(entry: dict[str, Any], alias: str) -> str:
    uri = entry.get("web_hdfs_uri") or entry.get("hdfs_web_uri") or entry.get("uri")
    if not isinstance(uri, str):
        raise ConfigError(f"storage {alias!r} has no uri", hint="opai cluster attach-hdfs sets it")
    return uri
