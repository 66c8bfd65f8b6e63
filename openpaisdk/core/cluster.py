# SPDX-License-Identifier: MIT
"""A cluster as users of Python and the command line see it: the facade over REST and storage."""

from __future__ import annotations

import os
import time

from openpaisdk._secret import Secret
from openpaisdk.constants import LOCAL_ALIAS, OWN_STORAGE
from openpaisdk.errors import ClusterError
from openpaisdk.http.urls import encode_query, is_loopback, split_url
from openpaisdk.rest import replies
from openpaisdk.rest.client import RestClient

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from openpaisdk.rest.listing import JobList
    from openpaisdk.rest.transport import Transport
    from openpaisdk.storage.base import Storage


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
        from openpaisdk.core.finding import find_cluster

        return cls(**find_cluster(alias), **options)

    @classmethod
    def from_json(cls, path: str, alias: str | None = None) -> tuple[Cluster, str]:
        """Return a cluster of the clusters file ``path``, and its alias.

        Raises:
            UnknownClusterError: No cluster has this alias.
            ConfigError: The file is damaged, or ``alias`` is left out and there are several.
        """
        from openpaisdk.core.finding import find_cluster

        cluster = cls(**find_cluster(alias, path))
        return cluster, cluster.alias

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Cluster:
        """Return, inside a job, the cluster that the job runs on.

        Raises:
            ConfigError: The environment does not name a cluster.
        """
        from openpaisdk.core.finding import find_own_cluster

        return cls(**find_own_cluster(os.environ if environ is None else environ))

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
        if self._pai_uri is None:
            from openpaisdk.core.local_server import open_local

            client = open_local(**options)
            self._user = client.user
            return client
        return RestClient(
            self._pai_uri,
            user=self._user,
            password=self._password,
            token=self._token,
            label=f"cluster {self.alias!r}" if self.alias else "the cluster",
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
        from openpaisdk.rest.listing import list_jobs

        return list_jobs(self.rest, query, name_only=name_only, limit=limit, offset=offset)

    def job_status(self, name: str) -> dict[str, Any]:
        """Return how a job and each of its tasks stand, in the form of ``opai job status``.

        Raises:
            JobNotFoundError: The cluster has no such job.
        """
        detail = self.job_detail(name)
        link, notes = self._page(name)
        return replies.job_status(detail, link=link, notes=notes)

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
        from openpaisdk.rest.submission import submit_once

        name = str(document.get("name", ""))
        reply = submit_once(self.rest, document, self.job_id(name))
        link = reply.get("link")
        return {
            "name": name,
            "user": self.user,
            "cluster": self.alias,
            "link": link if isinstance(link, str) else self.link(name),
        }

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
        from openpaisdk.rest.waiting import wait_for_jobs

        wanted = [names] if isinstance(names, str) else names
        jobs = [(name, self.job_id(name)) for name in wanted]
        return wait_for_jobs(self.rest, jobs, timeout_s, is_embedded=self.is_embedded, sleep=self._sleep)

    def logs(
        self,
        name: str,
        role: str | None = None,
        index: int | None = None,
        stream: str = "all",
        tail: int | None = None,
    ) -> str:
        """Return what the tasks of a job have written in their latest attempt.

        Bytes that are not UTF-8 become surrogates: ``text.encode("utf-8", "surrogateescape")`` gives
        all bytes as they were written.

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
        from openpaisdk.rest.logs import read_job_logs

        return read_job_logs(
            self.rest, self.job_id(name), role=role, index=index, stream=stream, tail=tail, name=name
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
        (``text``), ``state`` (``state``) and, last, ``end`` (``state``, ``exit_code``, ``user_exit_code``).
        Bytes that are not UTF-8 are in ``text`` as ``logs`` has them.

        Raises:
            JobNotFoundError: The cluster has no such job.
            ClusterConnectionError: The connection broke before the job ended.
        """
        options: dict[str, Any] = {"role": role, "index": index, "stream": stream, "tail": tail}
        if self.is_embedded:
            from openpaisdk.rest.following import follow_stream

            yield from follow_stream(self.rest, self.job_id(name), **options, name=name, sleep=self._sleep)
        else:
            from openpaisdk.rest.polling import PollingFollower

            follower = PollingFollower(self.rest, self.job_id(name), **options, sleep=self._sleep)
            yield from follower.events()

    def link(self, name: str) -> str:
        """Return the address of a job's page; the embedded cluster's is good for ten minutes and one use."""
        return self._page(name)[0]

    def _page(self, name: str) -> tuple[str, list[str]]:
        """Return the address of a job's page, and what is to be known of how the cluster runs the job."""
        job = self.job_id(name)
        if self.is_embedded:
            reply = self.rest.extension("POST", "/links", {"job": job}, job=name, only_looks=True)
            return str(reply["link"]), [str(note) for note in reply.get("notes", ())]
        user, _, job_name = job.partition("~")
        query = encode_query([("username", user), ("jobName", job_name)])
        return f"{self.rest.gateway}/job-detail.html{query}", []

    # --- storage -------------------------------------------------------------------------------

    def storage(self, alias: str | None = None) -> Storage:
        """Return the cluster's default storage, or one of its further storages.

        Raises:
            UnknownStorageError: The cluster has no storage of this alias.
            ConfigError: The cluster has no storage at all.
        """
        from openpaisdk.core.storages import find_storage, marked_alias
        from openpaisdk.storage.registry import open_storage

        own = self._own_storage_alias()
        if own is not None and (alias or marked_alias(self.storages) or own) == own:
            client = self.rest
            uri = f"{client.origin}/webhdfs/v1"
            options: dict[str, Any] = {"user": self.user, "token": client.token()}
        else:
            uri, found = find_storage(
                self.storages, alias, hdfs_web_uri=self.hdfs_web_uri, cluster=self.alias
            )
            return self._open_storage(uri, found)
        storage = open_storage(uri, **options)
        storage.trace = self._trace
        return storage

    def _open_storage(self, uri: str, found: Mapping[str, Any]) -> Storage:
        """Return the storage at an address; ``found`` is what its entry says beside that."""
        from openpaisdk.storage.registry import open_storage

        options: dict[str, Any] = {"user": self._storage_user(), "verify": self._verify, **found}
        options["token"] = _secret(options.get("token"))
        storage = open_storage(uri, **options)
        storage.trace = self._trace
        return storage

    def job_storage(self) -> Storage:
        """Return the storage that jobs' folders are on: the embedded cluster's own, elsewhere the default.

        Raises:
            ConfigError: The cluster has no storage at all.
        """
        return self.storage(self._own_storage_alias())

    def storage_at(self, uri: str) -> tuple[Storage, str]:
        """Return the storage behind the full address of a file, and the file's path on it.

        One that is among the cluster's storages is entered as that, but as the user whom the address names;
        ``hdfs:///path``, which names no host, is on that of jobs.

        Raises:
            UsageError: Nothing serves this scheme.
        """
        from openpaisdk.core.storages import find_storage, list_storages, place_of
        from openpaisdk.storage.registry import split_uri

        address, path = split_uri(uri)
        if address == OWN_STORAGE:
            return self.job_storage(), path
        place = place_of(address)
        own = self._own_storage_alias()
        if own is not None and place and place == place_of(self._embedded_uri()):
            return self.storage(own), path
        for entry in list_storages(self.storages, hdfs_web_uri=self.hdfs_web_uri):
            if place and place == place_of(str(entry["uri"])):
                if "@" not in address:
                    return self.storage(entry["alias"]), path
                _, options = find_storage(
                    self.storages, entry["alias"], hdfs_web_uri=self.hdfs_web_uri, cluster=self.alias
                )
                return self._open_storage(address, options), path
        return self._open_storage(address, {}), path

    def storage_list(self) -> list[dict[str, Any]]:
        """Return ``{"alias", "uri", "default"}`` of each storage of the cluster."""
        from openpaisdk.core.storages import list_storages, marked_alias, place_of

        own = self._own_storage_alias()
        found = list(list_storages(self.storages, hdfs_web_uri=self.hdfs_web_uri))
        if own is None:
            return found
        uri = place_of(self._embedded_uri()) or None
        default = marked_alias(self.storages) or own
        return [
            {**entry, "default": entry["alias"] == default} for entry in ({"alias": own, "uri": uri}, *found)
        ]

    def _own_storage_alias(self) -> str | None:
        """Return how the embedded cluster's own storage is called, ``None`` on other clusters."""
        is_own = self._pai_uri is None or (not self.hdfs_web_uri and self.is_embedded)
        return LOCAL_ALIAS if is_own else None

    def _embedded_uri(self) -> str:
        """Return the address of the embedded server as it was last, without starting it."""
        if self._pai_uri is not None:
            return self._pai_uri
        from openpaisdk.embedded import read_server_file

        return str((read_server_file() or {}).get("uri", ""))

    def _storage_user(self) -> str | None:
        """Return whom a storage that takes our word takes us for: the cluster's user, else the login name."""
        if self._user is not None:
            return self._user
        import getpass

        try:
            return getpass.getuser()
        except (KeyError, OSError):
            return None

    def storage_uri(self, alias: str | None = None) -> str:
        """Return the address of the cluster's default storage, or of one of its further storages.

        Raises:
            UnknownStorageError: The cluster has no storage of this alias.
            ConfigError: The cluster has no storage at all.
        """
        from openpaisdk.core.storages import find_storage

        return find_storage(self.storages, alias, hdfs_web_uri=self.hdfs_web_uri, cluster=self.alias)[0]


def _secret(value: str | Secret | None) -> Secret | None:
    return Secret(value) if isinstance(value, str) and value else value if isinstance(value, Secret) else None
