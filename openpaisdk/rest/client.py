# SPDX-License-Identifier: MIT
"""One method for each endpoint of a rest-server, in the order of the API's pages."""

from __future__ import annotations

import time
from _thread import allocate_lock

from openpaisdk._secret import Secret
from openpaisdk.constants import CONNECT_TIMEOUT_S, EXTENSION_PREFIX, READ_TIMEOUT_S, VERSION
from openpaisdk.errors import AuthenticationError, ClusterConnectionError, ClusterError
from openpaisdk.http.connection import TransportError
from openpaisdk.http.urls import encode_query, quote, split_url, without_secrets
from openpaisdk.rest.errors import Refusal, connection_error, refusal_error
from openpaisdk.rest.retry import send_with_retries
from openpaisdk.rest.transport import HttpTransport, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from openpaisdk.rest.transport import Response, Transport

GATEWAY_PREFIX = "/rest-server"
_DIRECT_PORT = 9186
_API = "/api/v2"
_FRESH_FOR_S = 5.0
_REVIVALS = 8
"""How often one request starts the embedded cluster again, should that die over and over."""
_FRESH_TOKEN_DELAYS_S = (0.05, 0.1, 0.2, 0.4, 0.8)
"""A token may be refused for a moment after the login that made it (rest-api-v2 §16)."""


class RestClient:
    """Talks to one rest-server as one user.

    The token is taken from the caller, or fetched by logging in when it is first needed; it is renewed once
    when the server does not take it any more and the password is known.

    Args:
        uri: The cluster's address: its gateway, or the rest-server itself.
        user: Login name.
        password: Known if tokens are to be renewed.
        token: A token to begin with.
        transport: What sends requests; by default sockets and ``requests``.
        verify: Whether certificates are checked, or the path of a CA bundle.
        label: How messages name the cluster.
        revive: Called with ``refused`` when nothing listens at ``uri``, with ``lost`` when that happens in
            the course of something that a stop of the server is to end, and with ``token`` when the token
            is not valid; returns address and token to go on with, or ``None``. Starts the embedded cluster.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        uri: str,
        *,
        user: str | None = None,
        password: Secret | None = None,
        token: Secret | None = None,
        transport: Transport | None = None,
        verify: bool | str = True,
        label: str = "the cluster",
        revive: Callable[[str], tuple[str, Secret] | None] | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.user = user
        self.label = label
        self.trace: Callable[[str], object] | None = None
        self._password = password
        self._token = token
        self._fresh_until = 0.0
        self._login_lock = allocate_lock()
        self._transport = transport if transport is not None else HttpTransport(verify=verify)
        self._revive = revive
        self._sleep = sleep
        self._set_address(uri)

    def __repr__(self) -> str:
        return f"<RestClient {self.user or ''}@{self.origin}{self._prefix}>"

    def _set_address(self, uri: str) -> None:
        url = split_url(uri)
        path = url.path.partition("?")[0].rstrip("/")
        for suffix in ("/api/v2", "/api/v1", "/api"):
            path = path.removesuffix(suffix)
        self.origin = url.origin
        is_direct = url.port == _DIRECT_PORT and not path
        self._prefix = path if path.endswith(GATEWAY_PREFIX) or is_direct else path + GATEWAY_PREFIX
        # Logs come from the gateway, which is at the usual port when the rest-server itself is addressed.
        host = f"[{url.host}]" if ":" in url.host else url.host
        self.gateway = (
            f"{url.scheme}://{host}" if is_direct else url.origin + path.removesuffix(GATEWAY_PREFIX)
        )

    # --- sending -------------------------------------------------------------------------------

    def call(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        content_type: str = "application/json",
        job: str | None = None,
        needs_token: bool = True,
        may_start: bool = True,
        stream: bool = False,
        read_timeout_s: float = READ_TIMEOUT_S,
        only_looks: bool = False,
    ) -> Response:
        """Send a request and return the answer when it is a success.

        Args:
            method: HTTP method.
            path: Path and query below ``/api/v2``, or one that begins with ``/api/`` or ``/local/v1``.
            body: What is sent along.
            content_type: What the body is.
            job: The job that this is about, for messages.
            needs_token: Whether the token goes along.
            may_start: Whether the embedded cluster may be started for this; if not, it is started again only
                after a crash.
            stream: Whether the body is left to be read piece by piece.
            read_timeout_s: Longest silence of the server, in seconds.
            only_looks: Whether this may be sent twice though it is a POST.

        Raises:
            OpenPaiError: What ``rest.errors`` makes of any other answer.
        """
        revivals = 0
        renewed = False
        delays = iter(_FRESH_TOKEN_DELAYS_S)
        while True:
            headers = {"Accept": "application/json", "User-Agent": f"openpaisdk/{VERSION}"}
            if body is not None:
                headers["Content-Type"] = content_type
            if needs_token:
                headers["Authorization"] = f"Bearer {self.token().reveal()}"
            url = self._url_of(path)
            timeout = (CONNECT_TIMEOUT_S, read_timeout_s)
            request = Request(method, url, headers=headers, body=body, timeout=timeout, only_looks=only_looks)
            try:
                response = self._send(request, stream=stream)
            except TransportError as exc:
                if exc.kind == "refused" and revivals < _REVIVALS:
                    if self._revived("refused" if may_start else "lost"):
                        revivals += 1
                        continue
                    if self._revive is not None:
                        raise ClusterConnectionError(
                            f"{self.label} was stopped in the meantime",
                            hint="opai local start takes its jobs up again",
                        ) from exc
                raise connection_error(exc, request, label=self.label) from exc
            if response.status < 300:
                return response
            if response.status == 401 and needs_token:
                pause_s = next(delays, None) if time.monotonic() < self._fresh_until else None
                if pause_s is not None:
                    self._sleep(pause_s)
                    continue
                if not renewed and self._renewed(headers["Authorization"]):
                    renewed = True
                    continue
            if self._is_wrong_prefix(response, path):
                self._prefix = ""
                continue
            raise refusal_error(request, response, label=self.label, job=job)

    def _send(self, request: Request, *, stream: bool = False) -> Response:
        started = time.monotonic()
        response = send_with_retries(
            self._transport,
            request,
            sleep=self._sleep,
            retry_refused=self._revive is None,
            stream=stream,
        )
        if self.trace is not None:
            elapsed_ms = (time.monotonic() - started) * 1000
            self.trace(
                f"{request.method} {without_secrets(request.url)} -> {response.status} ({elapsed_ms:.0f} ms)"
            )
        return response

    def _url_of(self, path: str) -> str:
        if path.startswith(EXTENSION_PREFIX):
            return self.origin + path
        return f"{self.origin}{self._prefix}{path if path.startswith('/api/') else _API + path}"

    def _is_wrong_prefix(self, response: Response, path: str) -> bool:
        """Tell whether this is a rest-server itself, on a port of its own, and not the gateway before it."""
        if response.status != 404 or not self._prefix or path.startswith(EXTENSION_PREFIX):
            return False
        refusal = Refusal(response)
        return refusal.code == "NoApiError" and f"API {self._prefix}/" in refusal.message

    def _json(self, method: str, path: str, value: Any = None, **options: Any) -> Any:
        body = None
        if value is not None:
            import json

            body = json.dumps(value).encode()
        response = self.call(method, path, body=body, **options)
        try:
            return response.json()
        except ValueError as exc:
            raise ClusterError(
                f"{self.label} answered {method} {path.partition('?')[0]} with something that is not JSON",
                hint="check pai_uri with `opai cluster list`: it may be the address of something else",
                method=method,
                url=self.origin,
                status=response.status,
            ) from exc

    # --- who we are ----------------------------------------------------------------------------

    def token(self) -> Secret:
        """Return the token in use, logging in for one when there is none yet.

        Raises:
            AuthenticationError: There is neither a token nor a password, or the password is wrong.
        """
        token = self._token
        if token is None:
            with self._login_lock:
                if self._token is None:
                    self.login()
                token = self._token
        if token is None:
            raise AuthenticationError(f"{self.label} gave no token", hint="opai cluster login")
        return token

    def login(self) -> dict[str, Any]:
        """Log in with user and password; return the server's answer without its token.

        Raises:
            AuthenticationError: User or password is wrong or not known, or the cluster takes no passwords.
        """
        if self._password is None or not self.user:
            raise AuthenticationError(
                f"neither a token nor user and password are known for {self.label}", hint="opai cluster login"
            )
        value = {"username": self.user, "password": self._password.reveal()}
        try:
            reply = self._json("POST", "/authn/basic/login", value, needs_token=False)
        except ClusterError as exc:
            if exc.server_code == "NoApiError":
                reply = self._login_elsewhere(value)
            elif exc.status in (400, 401) and not isinstance(exc, AuthenticationError):
                raise _login_error(exc, self.label) from exc
            else:
                raise
        if not isinstance(reply, dict) or not isinstance(reply.get("token"), str):
            raise AuthenticationError(
                f"{self.label} gave no token", hint="check pai_uri with `opai cluster list`"
            )
        self._token = Secret(reply["token"])
        self._fresh_until = time.monotonic() + _FRESH_FOR_S
        return {name: item for name, item in reply.items() if name != "token"}

    def _login_elsewhere(self, value: dict[str, str]) -> Any:
        """Log in where ``authn/basic`` is missing: an old cluster, or one with OIDC (§2, §15)."""
        if self.info().get("authnMethod") == "OIDC":
            raise AuthenticationError(
                f"{self.label} takes no passwords: it logs in through an identity provider",
                hint="copy a token from its web page and give it to opai cluster add or login with --token",
            )
        try:
            return self._json("POST", "/api/v1/token", {**value, "expiration": 604800}, needs_token=False)
        except ClusterError as exc:
            if exc.status == 400 and not isinstance(exc, AuthenticationError):
                raise _login_error(exc, self.label) from exc
            raise

    def _renewed(self, used: str) -> bool:
        """Get another token after a 401; true when the request is worth sending again."""
        if self._token is not None and used != f"Bearer {self._token.reveal()}":
            return True  # another thread was faster
        if self._password is not None and self.user:
            with self._login_lock:
                self.login()
            return True
        return self._revive is not None and self._revived("token")

    def _revived(self, because: str) -> bool:
        place = self._revive(because) if self._revive is not None else None
        if place is None:
            return False
        changed = self._token != place[1]
        self._set_address(place[0])
        self._token = place[1]
        return changed or because != "token"

    def logout(self) -> None:
        """Revoke the token in use, if there is one."""
        if self._token is not None:
            self.call("DELETE", "/authn/basic/logout", may_start=False)
            self._token = None

    def check_token(self) -> dict[str, Any]:
        """Return what the server knows of the token in use: user name, whether an admin, expiry."""
        return self._object("/tokens/check")

    def create_application_token(self) -> Secret:
        """Return a new token that never expires and may only do what jobs need."""
        return Secret(str(self._json("POST", "/tokens/application")["token"]))

    def revoke_token(self, token: Secret) -> None:
        """Make a token of this user invalid."""
        self.call("DELETE", f"/tokens/{quote(token.reveal())}")

    # --- the cluster ---------------------------------------------------------------------------

    def info(self) -> dict[str, Any]:
        """Return name, version, launcher and way of logging in; needs no token."""
        return self._object("/info", needs_token=False)

    def virtual_clusters(self) -> dict[str, Any]:
        """Return the virtual clusters by name."""
        return self._object("/virtual-clusters")

    def node_gpus(self) -> dict[str, Any]:
        """Return used, free and total GPUs by node."""
        return self._object("/virtual-clusters?nodes")

    def sku_types(self, virtual_cluster: str | None = None) -> dict[str, Any]:
        """Return the instance types of a cluster scheduled by hived; empty elsewhere."""
        return self._object("/cluster/sku-types" + encode_query([("vc", virtual_cluster)]))

    def user_profile(self, name: str) -> dict[str, Any]:
        """Return a user's profile."""
        return self._object(f"/users/{quote(name)}")

    def storages(self) -> list[dict[str, Any]]:
        """Return the storages that the user may mount into jobs."""
        found = self._object("/storages").get("storages")
        return found if isinstance(found, list) else []

    # --- jobs ----------------------------------------------------------------------------------

    def list_jobs(self, **query: object) -> list[dict[str, Any]]:
        """Return jobs as the server lists them; ``query`` are the parameters of rest-api-v2 §5.2."""
        reply = self._json("GET", "/jobs" + encode_query(query.items()))
        if isinstance(reply, dict):
            reply = reply.get("data")
        return reply if isinstance(reply, list) else []

    def submit_job(self, text: str, *, job: str) -> dict[str, Any]:
        """Send a job document, as text that is valid YAML.

        Raises:
            JobExistsError: The user has a job of this name.
            SpecError: The server refuses the document.
            PermissionDeniedError: The virtual cluster is not the user's, or does not exist.
        """
        response = self.call("POST", "/jobs", body=text.encode(), content_type="text/yaml", job=job)
        reply = response.json()
        return reply if isinstance(reply, dict) else {}

    def job_detail(self, job: str, attempt: int | None = None) -> dict[str, Any]:
        """Return a job as the server describes it (§5.3); ``attempt`` is from 0, ``None`` the latest."""
        suffix = "" if attempt is None else f"/attempts/{attempt}"
        return self._object(f"/jobs/{quote(job)}{suffix}", job=job)

    def job_config(self, job: str) -> dict[str, Any]:
        """Return the document of a job; its secrets are masked."""
        response = self.call("GET", f"/jobs/{quote(job)}/config", job=job)
        try:
            config = response.json()  # labelled YAML, but JSON on every server seen (§5.4)
        except ValueError:
            from openpaisdk.spec.yaml12 import load_yaml

            config = load_yaml(response.text(), file=None)[0]
        if not isinstance(config, dict):
            raise ClusterError(f"{self.label} has no document of job {job!r}")
        return config

    def set_execution_type(self, job: str, value: str) -> None:
        """Ask the server to ``STOP`` a job."""
        self._json("PUT", f"/jobs/{quote(job)}/executionType", {"value": value}, job=job)

    def add_tag(self, job: str, tag: str) -> None:
        """Put a tag on a job."""
        self._json("PUT", f"/jobs/{quote(job)}/tag", {"value": tag}, job=job)

    def delete_tag(self, job: str, tag: str) -> None:
        """Take a tag off a job."""
        self._json("DELETE", f"/jobs/{quote(job)}/tag", {"value": tag}, job=job)

    def job_events(self, job: str) -> list[dict[str, Any]]:
        """Return the events of a job, newest first."""
        found = self._object(f"/jobs/{quote(job)}/events", job=job).get("data")
        return found if isinstance(found, list) else []

    def job_attempts(self, job: str) -> list[dict[str, Any]]:
        """Return the attempts of a job, the latest first."""
        reply = self._json("GET", f"/jobs/{quote(job)}/job-attempts", job=job)
        return reply if isinstance(reply, list) else []

    def task_attempts(self, job: str, attempt: int, role: str, index: int) -> dict[str, Any]:
        """Return the attempts of one task in one attempt of its job (§5.10)."""
        return self._object(
            f"/jobs/{quote(job)}/attempts/{attempt}/taskRoles/{role}/taskIndex/{index}/attempts", job=job
        )

    # --- logs ----------------------------------------------------------------------------------

    def log_locations(self, path: str, *, tail: bool = False) -> dict[str, str]:
        """Return the addresses of a task attempt's logs by name, good for about two minutes (§5.11)."""
        found = self._object(path + ("?tail-mode=true" if tail else "")).get("locations")
        items = found if isinstance(found, list) else []
        return {str(item["name"]): str(item["uri"]) for item in items if isinstance(item, dict)}

    def read_log(self, uri: str, *, start: int = 0) -> Response:
        """Open a log at one of the addresses that the server gave, from byte ``start`` on, or its last ones.

        The answer's status is 200, 206 (a part), 416 (nothing from ``start`` on) or 404.
        """
        url = uri if "://" in uri else self.gateway + uri
        headers = {"User-Agent": f"openpaisdk/{VERSION}"}
        if start:
            headers["Range"] = f"bytes={start}-" if start > 0 else f"bytes={start}"
        request = Request("GET", url, headers=headers)
        try:
            response = self._send(request)
        except TransportError as exc:
            raise connection_error(exc, request, label=self.label) from exc
        if response.status in (200, 206, 404, 416):
            return response
        raise refusal_error(request, response, label=self.label)

    # --- users ---------------------------------------------------------------------------------

    def users(self) -> list[dict[str, Any]]:
        """Return all users of the cluster (§7)."""
        reply = self._json("GET", "/users")
        return reply if isinstance(reply, list) else []

    def create_user(
        self, name: str, password: Secret, *, admin: bool = False, virtual_clusters: Sequence[str] = ()
    ) -> None:
        """Add a user; only admins may."""
        value = {"username": name, "password": password.reveal(), "admin": admin}
        self._json("POST", "/users", {**value, "virtualCluster": list(virtual_clusters)})

    def set_user_password(self, name: str, password: Secret) -> None:
        """Give a user another password, which ends all logins with the old one; only admins may."""
        data = {"username": name, "password": password.reveal()}
        self._json("PUT", "/users", {"patch": True, "data": data})

    def set_user_admin(self, name: str, admin: bool) -> None:
        """Make a user an admin, or an ordinary user again; only admins may."""
        self._json("PUT", f"/users/{quote(name)}/admin", {"admin": admin})

    def delete_user(self, name: str) -> None:
        """Remove a user, who must not be an admin; only admins may."""
        self._json("DELETE", f"/users/{quote(name)}")

    # --- the embedded cluster's own ------------------------------------------------------------

    def extension(self, method: str, path: str, value: Any = None, **options: Any) -> dict[str, Any]:
        """Call an endpoint that only the embedded cluster has, named below ``/local/v1``."""
        reply = self._json(method, EXTENSION_PREFIX + path, value, **options)
        return reply if isinstance(reply, dict) else {}

    def _object(self, path: str, **options: Any) -> dict[str, Any]:
        reply = self._json("GET", path, **options)
        return reply if isinstance(reply, dict) else {}


def _login_error(exc: ClusterError, label: str) -> AuthenticationError:
    return AuthenticationError(
        f"cannot log in to {label}: {exc.message}",
        hint="check the user name with `opai cluster list`, then opai cluster login",
        method=exc.method,
        url=exc.url,
        status=exc.status,
        server_code=exc.server_code,
    )
