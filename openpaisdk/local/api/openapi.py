# SPDX-License-Identifier: MIT
"""The server's description of itself: which addresses there are, what they take and what they answer.

``OPERATIONS`` says of every route what the route does not say itself; a test compares the two, and others
check live answers against the document that comes out.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from openpaisdk.constants import EXTENSION_PREFIX, VERSION
from openpaisdk.local.api import bodies
from openpaisdk.local.api.reply_schemas import SCHEMAS, Schema, ref
from openpaisdk.local.api.routes.job_query import KEYWORD_LENGTH_MAX, LIMIT_MAX, ORDER_FIELDS
from openpaisdk.local.api.shapes import Patch, Shape
from openpaisdk.local.routing import ANY, ApiRoute
from openpaisdk.spec import schemas

JSON, TEXT, YAML = "application/json", "text/plain", "text/yaml"
_NDJSON = "application/x-ndjson"
_TEXT: Schema = {"type": "string"}
_WHOLE: Schema = {"type": "integer", "minimum": 0}
_JOB_LIST_QUERY: dict[str, Schema] = {
    **dict.fromkeys(("username", "vc", "state", "tagsContain", "tagsNotContain", "jobPriority"), _TEXT),
    "keyword": {"type": "string", "maxLength": KEYWORD_LENGTH_MAX},
    "offset": _WHOLE,
    "limit": {**_WHOLE, "maximum": LIMIT_MAX},
    "order": {"type": "string", "pattern": f"^({'|'.join(ORDER_FIELDS)}),(ASC|DESC)$"},
    "withTotalCount": {"enum": ["true", "false"]},
}
_WAIT: Schema = {
    "type": "object",
    "properties": {
        "jobs": {"type": "array", "items": _TEXT, "minItems": 1},
        "timeout_s": {"type": "number", "minimum": 0, "maximum": 1},
        "mode": {"enum": ["all", "any"]},
    },
    "required": ["jobs"],
}
_LINK: Schema = {"type": "object", "properties": {"job": _TEXT}, "required": ["job"]}
_SHUTDOWN: Schema = {"type": "object", "properties": {"mode": {"enum": ["refuse", "kill", "leave"]}}}


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What one address takes and answers.

    Errors that many share are not named: 401 where a token is needed, 404 where the address has a variable
    part, 400 where there is a body or a query, 413 where there is a body, 403 and 429 everywhere.
    """

    reply: str | Schema | None = None
    """Name of a schema, or a schema, of the answer."""
    status: int = 200
    content: str = JSON
    needs_token: bool = True
    body: Shape | Patch | Schema | None = None
    body_content: str = JSON
    query: dict[str, Schema] = field(default_factory=dict)
    errors: tuple[int, ...] = ()
    """Statuses of errors beside those that follow from the rest."""
    other_replies: dict[int, tuple[str, Schema]] = field(default_factory=dict)
    """Statuses of other answers, each with its type of content and schema."""


def _message(body: Shape | Patch | None, *errors: int, status: int = 201) -> Operation:
    return Operation(reply="Message", status=status, body=body, errors=errors)


def _get(reply: str, *errors: int, **query: Schema) -> Operation:
    return Operation(reply=reply, query=query, errors=errors)


_API = "/api/v2"
_JOB = f"{_API}/jobs/{{framework}}"
_TASK = f"{_JOB}/attempts/{{attempt}}/taskRoles/{{role}}/taskIndex/{{index}}"
_LOGIN = Operation(reply="Login", body=bodies.LOGIN, needs_token=False)
_INFO = Operation(reply="Info", needs_token=False)
_AUTHN = Operation(reply="AuthnInfo", needs_token=False)
_LOGOUT = Operation(reply="Message")
_PASSED = Operation(reply="KubernetesList", query={"namespace": _TEXT, "labelSelector": _TEXT})
_TAG = Operation(reply="JobDone", body=bodies.TAG)
_PIECE: tuple[str, Schema] = (TEXT, _TEXT)


def _token_operations(base: str) -> dict[tuple[str, str], Operation]:
    return {
        ("POST", base): _LOGIN,
        ("GET", base): _get("Tokens"),
        ("POST", f"{base}/application"): Operation(reply="ApplicationToken"),
        ("GET", f"{base}/check"): _get("TokenClaims"),
        ("DELETE", f"{base}/{{token}}"): Operation(reply="Message", errors=(400,)),
    }


def _user_operations(base: str) -> dict[tuple[str, str], Operation]:
    user = f"{base}/{{name}}"
    return {
        ("GET", base): _get("Users"),
        ("POST", base): _message(bodies.CREATE_USER, 404, 409),
        ("PUT", base): _message(bodies.UPDATE_USER, 404),
        ("PUT", f"{base}/me"): _message(bodies.UPDATE_ME, 404),
        ("GET", user): _get("User", 400),
        ("DELETE", user): _message(None, status=200),
        ("PUT", f"{user}/extension"): _message(bodies.USER_EXTENSION),
        ("PUT", f"{user}/email"): _message(bodies.USER_EMAIL),
        ("PUT", f"{user}/password"): _message(bodies.USER_PASSWORD),
        ("PUT", f"{user}/admin"): _message(bodies.USER_ADMIN),
        ("PUT", f"{user}/virtualcluster"): _message(bodies.USER_VIRTUAL_CLUSTERS),
        ("PUT", f"{user}/grouplist"): _message(bodies.USER_GROUPS),
        ("PUT", f"{user}/group"): _message(bodies.USER_GROUP),
        ("DELETE", f"{user}/group"): _message(bodies.USER_GROUP),
    }


def _group_operations(base: str) -> dict[tuple[str, str], Operation]:
    group = f"{base}/{{name}}"
    return {
        ("GET", base): _get("Groups"),
        ("POST", base): _message(bodies.CREATE_GROUP),
        ("PUT", base): _message(bodies.UPDATE_GROUP),
        ("GET", group): _get("Group", 400),
        ("DELETE", group): Operation(reply="Message", errors=(400,)),
        ("GET", f"{group}/userlist"): _get("Members"),
        ("PUT", f"{group}/extension"): _message(bodies.GROUP_EXTENSION),
        ("PUT", f"{group}/extension/{{keys}}"): _message(bodies.EXTENSION_VALUE),
        ("PUT", f"{group}/description"): _message(bodies.GROUP_DESCRIPTION),
        ("PUT", f"{group}/externalname"): _message(bodies.GROUP_EXTERNAL_NAME),
    }


_LOG = "/log-manager/{address}/api/v1/logs/{name}"
_LOG_CONTENT = Operation(
    reply=_TEXT,
    content=TEXT,
    needs_token=False,
    query={"token": _TEXT, "pod-uid": _TEXT, "tail-mode": {"enum": ["true", "false"]}},
    other_replies={206: _PIECE, 400: _PIECE, 403: _PIECE, 404: _PIECE, 416: _PIECE},
)
_JOB_OPERATIONS: dict[tuple[str, str], Operation] = {
    ("GET", f"{_API}/jobs"): Operation(reply="Jobs", query=_JOB_LIST_QUERY),
    ("POST", f"{_API}/jobs"): Operation(
        reply="JobDone", status=202, body=ref("JobDocument"), body_content=YAML, errors=(404, 409)
    ),
    ("GET", _JOB): _get("Job"),
    ("GET", f"{_JOB}/attempts/{{attempt}}"): _get("Job"),
    ("GET", f"{_JOB}/config"): Operation(reply={}, content=YAML),
    ("PUT", f"{_JOB}/executionType"): Operation(reply="JobDone", status=202, body=bodies.EXECUTION_TYPE),
    ("PUT", f"{_JOB}/tag"): _TAG,
    ("DELETE", f"{_JOB}/tag"): _TAG,
    ("GET", f"{_JOB}/events"): _get("Events", type=_TEXT),
    ("GET", f"{_JOB}/ssh"): Operation(),
    ("GET", f"{_JOB}/job-attempts/healthz"): Operation(reply=_TEXT, content=TEXT),
    ("GET", f"{_JOB}/job-attempts"): Operation(
        reply="JobAttempts", other_replies={404: (JSON, {"anyOf": [ref("Null"), ref("Error")]})}
    ),
    ("GET", f"{_JOB}/job-attempts/{{attempt}}"): _get("JobAttempt"),
    ("GET", f"{_TASK}/attempts"): _get("TaskAttempts"),
    ("GET", f"{_TASK}/attempts/{{task_attempt}}/logs"): Operation(
        reply="LogLocations", query={"tail-mode": {"enum": ["true", "false"]}}
    ),
    ("GET", _LOG): _LOG_CONTENT,
    ("HEAD", _LOG): _LOG_CONTENT,
}

_VC = f"{_API}/virtual-clusters/{{name}}"
_CLUSTER_OPERATIONS: dict[tuple[str, str], Operation] = {
    ("GET", f"{_API}/virtual-clusters"): _get("VirtualClusters", nodes=_TEXT),
    ("GET", _VC): _get("VirtualCluster", 400),
    ("PUT", _VC): Operation(body=bodies.VIRTUAL_CLUSTER),
    ("DELETE", _VC): Operation(errors=(400,)),
    ("PUT", f"{_VC}/status"): Operation(body=bodies.VIRTUAL_CLUSTER_STATUS),
    ("GET", f"{_API}/cluster/sku-types"): _get("SkuTypes", 404, vc=_TEXT),
    ("GET", f"{_API}/storages"): _get("Storages", default=_TEXT),
    ("GET", f"{_API}/storages/{{name}}"): Operation(),
    ("GET", f"{_API}/storage/config"): _get("Nothing"),
    ("GET", f"{_API}/storage/config/{{name}}"): Operation(),
    ("GET", f"{_API}/storage/server"): _get("Nothing"),
    ("GET", f"{_API}/storage/server/{{name}}"): Operation(),
    ("GET", f"{_API}/alerts"): _get("Nothing"),
    ("GET", f"{_API}/kubernetes/nodes"): _PASSED,
    ("GET", f"{_API}/kubernetes/pods"): _PASSED,
    ("GET", "/api/v1/kubernetes/nodes"): _PASSED,
    ("GET", "/api/v1/kubernetes/pods"): _PASSED,
}

_SERVER_OPERATIONS: dict[tuple[str, str], Operation] = {
    ("GET", _API): Operation(reply=_TEXT, content=TEXT, needs_token=False),
    ("GET", f"{_API}/info"): _INFO,
    ("GET", f"{_API}/openapi.json"): _get("OpenApi"),
    ("GET", "/api/v1"): _INFO,
    ("GET", "/api/v1/user/{name}"): _get("User", 400),
    ("GET", f"{_API}/authn/info"): _AUTHN,
    ("GET", "/api/v1/authn/info"): _AUTHN,
    ("POST", f"{_API}/authn/basic/login"): _LOGIN,
    ("POST", "/api/v1/authn/basic/login"): _LOGIN,
    ("DELETE", f"{_API}/authn/basic/logout"): _LOGOUT,
    ("DELETE", "/api/v1/authn/basic/logout"): _LOGOUT,
}

_EXTENSION_OPERATIONS: dict[tuple[str, str], Operation] = {
    ("POST", f"{EXTENSION_PREFIX}/wait"): Operation(reply="Ends", body=_WAIT, errors=(404,)),
    ("GET", f"{EXTENSION_PREFIX}/follow"): Operation(
        reply=_TEXT,
        content=_NDJSON,
        query={"job": _TEXT, "stream": _TEXT, "role": _TEXT, "index": _WHOLE, "tail": _WHOLE, "after": _TEXT},
        errors=(404,),
    ),
    ("GET", f"{EXTENSION_PREFIX}/status"): _get("ServerStatus"),
    ("POST", f"{EXTENSION_PREFIX}/shutdown"): Operation(
        reply="Stopping", body=_SHUTDOWN, other_replies={409: (JSON, {"type": "object"})}
    ),
    ("POST", f"{EXTENSION_PREFIX}/links"): Operation(reply="Link", body=_LINK, errors=(404,)),
    ("GET", f"{EXTENSION_PREFIX}/credentials"): _get("Credentials"),
}

OPERATIONS: dict[tuple[str, str], Operation] = {
    **_SERVER_OPERATIONS,
    **_token_operations(f"{_API}/tokens"),
    **_token_operations("/api/v1/token"),
    **_user_operations(f"{_API}/users"),
    **_user_operations(f"{_API}/user"),
    **_group_operations(f"{_API}/groups"),
    **_group_operations(f"{_API}/group"),
    **_JOB_OPERATIONS,
    **_CLUSTER_OPERATIONS,
    **_EXTENSION_OPERATIONS,
}
"""(method, address) -> what is to be known of it."""


def operation_key(route: ApiRoute) -> tuple[str, str]:
    """Return the key of a route in ``OPERATIONS``; what answers every method is described by its GET."""
    return ("GET" if route.method == ANY else route.method, _plain(route.path))


def build_document(routes: Iterable[ApiRoute]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the routes of the API."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        method, path = key = operation_key(route)
        paths.setdefault(path, {})[method.lower()] = _describe(path, OPERATIONS[key], route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "OpenPAI REST API, as the embedded cluster serves it", "version": VERSION},
        "servers": [{"url": "/"}, {"url": "/rest-server"}],
        "paths": paths,
        "components": {
            "schemas": {**SCHEMAS, "JobDocument": _job_document()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "application": {"type": "http", "scheme": "basic"},
            },
        },
    }


def _job_document() -> Schema:
    """Return the schema of job documents, which refers to parts of itself."""
    text = files(schemas).joinpath("job_v2.json").read_text("utf-8")
    place = ref("JobDocument")["$ref"]
    schema: Schema = json.loads(text.replace('"#/definitions/', f'"{place}/definitions/'))
    del schema["$schema"]
    return schema


def _plain(path: str) -> str:
    return re.sub(r":\w+}", "}", path)


def _describe(path: str, operation: Operation, route: ApiRoute) -> dict[str, Any]:
    summary = (inspect.getdoc(route.endpoint) or "").partition("\n\n")[0]
    found: dict[str, Any] = {"summary": " ".join(summary.split()), "responses": _responses(path, operation)}
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"{(\w+)}", path)
    ]
    parameters += [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in operation.query.items()
    ]
    if parameters:
        found["parameters"] = parameters
    if operation.body is not None:
        schema = operation.body if isinstance(operation.body, dict) else operation.body.schema()
        found["requestBody"] = {"required": True, "content": {operation.body_content: {"schema": schema}}}
    found["security"] = [{"bearer": []}, {"application": []}] if operation.needs_token else []
    return found


def _responses(path: str, operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if operation.reply is not None:
        schema = ref(operation.reply) if isinstance(operation.reply, str) else operation.reply
        found[str(operation.status)] = _response("what was asked for", operation.content, schema)
    errors = {403, *operation.errors}
    if operation.needs_token:
        errors.add(401)
    if "{" in path:
        errors.add(404)
    if operation.body is not None or operation.query:
        errors.add(400)
    if operation.body is not None:
        errors.add(413)
    for status in errors:
        found[str(status)] = _response("a refusal", JSON, ref("Error"))
    for status, (content, schema) in operation.other_replies.items():
        found[str(status)] = _response("another answer", content, schema)
    found["429"] = _response("the client asks too often", "text/html", _TEXT)
    return {status: found[status] for status in sorted(found)}


def _response(description: str, content: str, schema: Schema) -> dict[str, Any]:
    return {"description": description, "content": {content: {"schema": schema}}}
