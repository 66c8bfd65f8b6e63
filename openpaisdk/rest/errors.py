# SPDX-License-Identifier: MIT
"""Turning what went wrong at a server or on the way into errors of this package (rest-api-v2 §1.1, §16)."""

from __future__ import annotations

from openpaisdk.errors import (
    AuthenticationError,
    ClusterConnectionError,
    ClusterError,
    JobExistsError,
    JobNotFoundError,
    OpenPaiError,
    PermissionDeniedError,
    RateLimitError,
    SpecError,
)
from openpaisdk.http.urls import split_url, without_secrets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from openpaisdk.http.connection import TransportError
    from openpaisdk.rest.transport import Request, Response

_MESSAGE_LIMIT = 2000
_CONNECTION_HINTS = {
    "dns": "check the host name with `opai cluster list`, and your network or VPN",
    "tls": "give the cluster's CA bundle as `verify` in clusters.json",
    "refused": "check address and port with `opai cluster list`, and that the cluster is up",
    "network": "check your network, VPN and proxy variables",
    "connect-timeout": "check your network, VPN and proxy, and the address with `opai cluster list`",
    "read-timeout": "the cluster is up but does not answer; try again later, or ask its administrator",
    "reset": "try again; a proxy or gateway on the way may be at fault",
}


class Refusal:
    """What a server answered instead of doing what was asked; ``code`` where it sent one."""

    __slots__ = ("code", "is_null", "message")

    def __init__(self, response: Response) -> None:
        self.code: str | None = None
        text = response.text().strip()
        self.is_null = text == "null"
        try:
            value: Any = response.json() if text else None
        except ValueError:
            value = None
            self.message = "" if text.startswith("<") else text[:_MESSAGE_LIMIT]
        else:
            self.message = ""
        if isinstance(value, dict):
            code, message = value.get("code"), value.get("message")
            self.code = code if isinstance(code, str) else None
            self.message = message[:_MESSAGE_LIMIT] if isinstance(message, str) else ""


def connection_error(exc: TransportError, request: Request, *, label: str) -> ClusterConnectionError:
    """Return the error for a cluster that could not be reached, naming host and port and what to check."""
    return ClusterConnectionError(
        f"cannot reach {label}: {exc}",
        hint=_CONNECTION_HINTS.get(exc.kind),
        method=request.method,
        url=without_secrets(request.url),
    )


class _Case:
    """A refused request with everything that goes into its error."""

    __slots__ = ("details", "job", "label", "refusal", "request", "response", "said")

    def __init__(self, request: Request, response: Response, label: str, job: str | None) -> None:
        self.request = request
        self.response = response
        self.refusal = Refusal(response)
        self.label = label
        self.job = job
        self.said = _sentence(self.refusal.message) or f"{label} answered {response.status}"
        self.details: dict[str, Any] = {
            "method": request.method,
            "url": without_secrets(request.url),
            "status": response.status,
            "server_code": self.refusal.code,
        }


def refusal_error(
    request: Request, response: Response, *, label: str = "the cluster", job: str | None = None
) -> OpenPaiError:
    """Return the error for an answer that is not a success.

    Args:
        request: What was asked.
        response: What came back.
        label: How to name the cluster.
        job: The job that the request was about, as the user wrote it.
    """
    case = _Case(request, response, label, job)
    if response.status == 404 and case.refusal.is_null:  # what job-attempts of an unknown job answers
        return _no_job(case)
    build = _BY_CODE.get(case.refusal.code or "") or _BY_STATUS.get(response.status) or _other
    return build(case)


def _no_job(case: _Case) -> OpenPaiError:
    message = f"{case.label} has no job {case.job!r}" if case.job else case.said
    return JobNotFoundError(message, hint="opai job list shows the jobs there are", **case.details)


def _job_exists(case: _Case) -> OpenPaiError:
    return JobExistsError(
        f"there is already a job {case.job!r} on {case.label}" if case.job else case.said,
        hint="choose another name with -j; the name of a finished job is not free again",
        **case.details,
    )


def _wrong_password(case: _Case) -> OpenPaiError:
    return AuthenticationError(
        f"the password for {case.label} is wrong", hint="opai cluster login asks for it again", **case.details
    )


def _not_logged_in(case: _Case) -> OpenPaiError:
    return AuthenticationError(
        f"not logged in to {case.label}: {case.said}", hint="opai cluster login", **case.details
    )


def _not_allowed(case: _Case) -> OpenPaiError:
    hint = None
    if "not allowed to do operation in" in case.refusal.message:
        hint = "the virtual cluster may not exist; opai cluster resources lists those there are"
    return PermissionDeniedError(case.said, hint=hint, **case.details)


def _too_many(case: _Case) -> OpenPaiError:
    from openpaisdk.rest.retry import retry_after_s

    pause_s = retry_after_s(case.response)
    message = f"{case.label} takes no more requests of this kind for {pause_s:g} s"
    return RateLimitError(message, retry_after_s=pause_s, **case.details)


def _document_refused(case: _Case) -> OpenPaiError:
    return SpecError(f"{case.label} refuses the job document", problems=problems_of(case.refusal.message))


def _too_large(case: _Case) -> OpenPaiError:
    hint = "put large files into the job's sources or on storage"
    return ClusterError(f"{case.label} says that the request is too large", hint=hint, **case.details)


def _no_feature(case: _Case) -> OpenPaiError:
    path = split_url(case.request.url).path.partition("?")[0]
    return ClusterError(
        f"{case.label} does not have this feature ({case.request.method} {path})",
        hint="its version may be too old; opai cluster info shows it",
        **case.details,
    )


def _other(case: _Case) -> OpenPaiError:
    status = case.response.status
    if 300 <= status < 400:
        place = without_secrets(case.response.headers.get("location", "nowhere"))
        hint = "check pai_uri with `opai cluster list`"
        return ClusterError(f"{case.label} points to {place}", hint=hint, **case.details)
    if status >= 500:
        # Codes of the server's own broken connections leak out (rest-api-v2 §16).
        is_part_down = case.refusal.code in ("ECONNREFUSED", "ECONNRESET", "ETIMEDOUT")
        hint_or_none = "a part of the cluster is down; try again later" if is_part_down else None
        said = f": {case.said}" if case.refusal.message else ""
        return ClusterError(f"{case.label} answered {status}{said}", hint=hint_or_none, **case.details)
    return ClusterError(case.said, **case.details)


_BY_CODE = {
    "NoJobError": _no_job,
    "ConflictJobError": _job_exists,
    "IncorrectPasswordError": _wrong_password,
    "InvalidProtocolError": _document_refused,
    "NoApiError": _no_feature,
}
_BY_STATUS = {401: _not_logged_in, 403: _not_allowed, 413: _too_large, 429: _too_many}


def problems_of(message: str) -> list[dict[str, Any]]:
    """Return the problems in an ``InvalidProtocolError``: a JSON list of ajv errors, or one sentence."""
    import json

    try:
        found = json.loads(message)
    except ValueError:
        found = None
    if not isinstance(found, list):
        found = [{"message": message}]
    return [_problem(item) for item in found if isinstance(item, dict)]


def _problem(item: dict[str, Any]) -> dict[str, Any]:
    wanted = str(item.get("message", ""))
    parameters = item.get("params")
    if isinstance(parameters, dict) and "additionalProperty" in parameters:
        wanted += f": {parameters['additionalProperty']!r}"
    return {
        "severity": "error",
        "path": str(item.get("dataPath", "")).removeprefix("."),
        "message": wanted,
        "hint": None,
        "file": None,
        "line": None,
        "column": None,
    }


def _sentence(message: str) -> str:
    """Return a server's sentence in the style of our own: no full stop, a lower-case start."""
    text = " ".join(message.split()).removesuffix(".")
    first = text.partition(" ")[0]
    return text[:1].lower() + text[1:] if first[1:].islower() or len(first) == 1 else text
