# SPDX-License-Identifier: MIT
"""JSON schemas of what the API answers, written from the page of a real server's (rest-api-v2 §2 to §10).

They are strict: a key that the page does not name is a fault, save what the embedded cluster adds on purpose.
"""

from __future__ import annotations

from typing import Any

from openpaisdk.spec.state import JobState

Schema = dict[str, Any]


def _object(required: Schema, optional: Schema | None = None) -> Schema:
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def _array(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _map(item: Schema) -> Schema:
    return {"type": "object", "additionalProperties": item}


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def ref(name: str) -> Schema:
    """Return a reference to one of the schemas here."""
    return {"$ref": f"#/components/schemas/{name}"}


_TEXT: Schema = {"type": "string"}
_TEXTS = _array(_TEXT)
_FLAG: Schema = {"type": "boolean"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_CODE: Schema = {"type": "integer"}
_MOMENT: Schema = {"type": "integer", "minimum": 1_000_000_000_000}
"""Milliseconds since the epoch; a smaller number would be seconds by mistake."""
_ISO_MOMENT: Schema = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}
_MD5: Schema = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
_TEXT_OR_NULL = _nullable(_TEXT)
_MOMENT_OR_NULL = _nullable(_MOMENT)
_CODE_OR_NULL = _nullable(_CODE)
_COUNT_OR_NULL = _nullable(_COUNT)
_STATE: Schema = {"enum": [state.value for state in JobState]}
_SUB_STATE: Schema = {
    "enum": [
        "AttemptCreationPending",
        "AttemptCreationRequested",
        "AttemptPreparing",
        "AttemptRunning",
        "AttemptDeletionPending",
        "AttemptDeletionRequested",
        "AttemptDeleting",
        "AttemptCompleted",
        "Completed",
    ]
}
_EXECUTION_TYPE: Schema = {"enum": ["START", "STOP"]}
_EXIT_TYPE = _nullable({"enum": ["Succeeded", "Failed"]})
_RETRY_DETAILS = _object({"user": _COUNT, "platform": _COUNT, "resource": {"const": 0}})
_RUNTIME = _object(
    {"exitCode": _CODE, "name": _TEXT},
    {
        "trigger": _TEXT,
        "originUserExitCode": _CODE,
        "matchedUserLogString": _TEXT,
        "matchedPlatformLogString": _TEXT,
        "matchedGpuInfo": {},
        "caughtException": _TEXT,
        "errorLogs": _object({}, {"user": _TEXT, "platform": _TEXT}),
    },
)
_EXIT_MESSAGES = _object(
    {"container": {"type": "null"}, "runtime": _nullable(_RUNTIME), "launcher": _TEXT_OR_NULL}
)
_TRIGGER = {
    "appExitTriggerMessage": _TEXT_OR_NULL,
    "appExitTriggerTaskRoleName": _TEXT_OR_NULL,
    "appExitTriggerTaskIndex": _COUNT_OR_NULL,
}
_APP_EXIT = {
    "appExitSpec": _nullable(ref("ExitSpec")),
    "appExitDiagnostics": _TEXT_OR_NULL,
    "appExitMessages": _nullable(_EXIT_MESSAGES),
    **_TRIGGER,
}
_JOB_TIMES = {
    "createdTime": _MOMENT_OR_NULL,
    "launchedTime": _MOMENT_OR_NULL,
    "completedTime": _MOMENT_OR_NULL,
}
_JOB_STATE = {
    "username": _TEXT,
    "state": _STATE,
    "subState": _SUB_STATE,
    "executionType": _EXECUTION_TYPE,
    "retries": _COUNT,
    "retryDetails": _RETRY_DETAILS,
    "retryDelayTime": _COUNT_OR_NULL,
    **_JOB_TIMES,
    "appExitCode": _CODE_OR_NULL,
    "virtualCluster": _TEXT,
    "submissionTime": _MOMENT,
}
_CONTAINER = {
    "containerId": _TEXT,
    "containerIp": _TEXT,
    "containerNodeName": _TEXT,
    "containerPorts": _map({"type": "string", "pattern": r"^\d+(,\d+)*$"}),
    "containerGpus": {"type": "null"},
    "containerLog": {"type": "string", "pattern": "^/api/v2/jobs/.+/logs$"},
    "containerExitCode": _CODE_OR_NULL,
    "containerExitSpec": _nullable(ref("ExitSpec")),
    "containerExitDiagnostics": _TEXT_OR_NULL,
}
_TASK_ATTEMPT = {
    "attemptId": _COUNT,
    "attemptState": _STATE,
    "currentAttemptCreatedTime": _MOMENT_OR_NULL,
    "currentAttemptLaunchedTime": _MOMENT_OR_NULL,
    "currentAttemptCompletedTime": _MOMENT_OR_NULL,
}
_TASK = {
    "taskIndex": _COUNT,
    "taskUid": _TEXT,
    "taskState": _STATE,
    "retries": _COUNT,
    "accountableRetries": _COUNT,
    **_JOB_TIMES,
}
_ATTEMPT_ROLE = _object(
    {
        "taskRoleStatus": _object({"name": _TEXT}),
        "taskStatuses": _array(
            _object(
                {
                    "taskIndex": _COUNT,
                    "taskState": _STATE,
                    "containerId": _TEXT,
                    "containerIp": _TEXT,
                    "containerGpus": _COUNT_OR_NULL,
                    "containerLog": _TEXT,
                    "containerExitCode": _CODE_OR_NULL,
                }
            )
        ),
    }
)
_RESOURCES = _object({"cpu": _COUNT, "memory": _COUNT, "gpu": _COUNT, "vCores": _COUNT, "GPUs": _COUNT})
_PERCENT: Schema = {"type": "number", "minimum": 0}
_KUBERNETES_OBJECT: Schema = {
    "type": "object",
    "properties": {"kind": _TEXT, "apiVersion": {"const": "v1"}, "metadata": {"type": "object"}},
    "required": ["kind", "apiVersion", "metadata", "spec", "status"],
}
_JOB_END = _object({"state": _STATE, "exit_code": _CODE_OR_NULL, "user_exit_code": _CODE_OR_NULL})

SCHEMAS: dict[str, Schema] = {
    "Error": _object({"message": _TEXT}, {"code": _TEXT}),
    "Message": _object({"message": _TEXT}),
    "Null": {"type": "null"},
    # --- the server, tokens
    "Info": _object(
        {
            "name": {"const": "PAI RESTful API"},
            "version": _TEXT_OR_NULL,
            "launcherType": {"const": "k8s"},
            "authnMethod": {"enum": ["basic", "OIDC"]},
        },
        {"embedded": {"const": True}},
    ),
    "AuthnInfo": _object(
        {"authn_type": {"enum": ["basic", "OIDC"]}, "loginURI": _TEXT, "loginURIMethod": _TEXT}
    ),
    "Login": _object({"user": _TEXT, "token": _TEXT, "admin": _FLAG}, {"hasGitHubPAT": {}}),
    "Tokens": _object({"tokens": _TEXTS}),
    "ApplicationToken": _object({"token": _TEXT, "application": {"const": True}}),
    "TokenClaims": _object(
        {
            "username": _TEXT,
            "application": _FLAG,
            "jobSpecific": _FLAG,
            "encodedFrameworkName": _TEXT,
            "iat": _COUNT,
            "admin": _FLAG,
        },
        {"exp": _COUNT},
    ),
    # --- users, groups
    "User": _object(
        {
            "username": _TEXT,
            "grouplist": _TEXTS,
            "email": _TEXT,
            "extension": {"type": "object"},
            "admin": _FLAG,
            "virtualCluster": _TEXTS,
            "storageConfig": _TEXTS,
        }
    ),
    "Users": _array(ref("User")),
    "Group": _object(
        {
            "groupname": _TEXT,
            "description": _TEXT,
            "externalName": _TEXT,
            "extension": {
                "type": "object",
                "properties": {
                    "acls": {
                        "type": "object",
                        "properties": {"admin": _FLAG, "virtualClusters": _TEXTS, "storageConfigs": _TEXTS},
                        "required": ["admin", "virtualClusters"],
                    }
                },
                "required": ["acls"],
            },
        }
    ),
    "Groups": _array(ref("Group")),
    "Members": _array(_object({"username": _TEXT, "clusterAdmin": _FLAG})),
    # --- jobs
    "JobDone": _object({"status": {"enum": [200, 202]}, "message": _TEXT}, {"link": _TEXT}),
    "JobItem": _object(
        {
            "debugId": _MD5,
            "name": _TEXT,
            "tags": _TEXTS,
            **_JOB_STATE,
            "totalGpuNumber": _CODE,
            "totalTaskNumber": _COUNT,
            "totalTaskRoleNumber": _COUNT,
            "jobPriority": _TEXT_OR_NULL,
        }
    ),
    "Jobs": {
        "anyOf": [
            _array(ref("JobItem")),
            _object({"totalCount": _COUNT, "data": _array(ref("JobItem"))}),
        ]
    },
    "ExitSpec": _object(
        {
            "code": _CODE,
            "phrase": _TEXT,
            "issuer": _TEXT,
            "causer": _TEXT,
            "type": _TEXT,
            "stage": _TEXT,
            "behavior": _TEXT,
            "reaction": _TEXT,
        },
        {"reason": _TEXT, "repro": _TEXTS, "solution": _TEXTS},
    ),
    "JobStatus": _object(
        {
            **_JOB_STATE,
            "attemptState": _STATE,
            "appProgress": {"enum": [0, 1]},
            "appTrackingUrl": _TEXT,
            "appCreatedTime": _MOMENT_OR_NULL,
            "appLaunchedTime": _MOMENT_OR_NULL,
            "appCompletedTime": _MOMENT_OR_NULL,
            **_APP_EXIT,
            "appExitType": _EXIT_TYPE,
        },
        {"attemptId": _COUNT, "appId": _TEXT},
    ),
    "TaskStatus": _object({**_TASK, **_CONTAINER, **_TASK_ATTEMPT}),
    "Job": _object(
        {
            "debugId": _MD5,
            "name": _TEXT,
            "tags": _TEXTS,
            "jobStatus": ref("JobStatus"),
            "taskRoles": _map(
                _object(
                    {
                        "taskRoleStatus": _object({"name": _TEXT}),
                        "taskStatuses": {**_array(ref("TaskStatus")), "minItems": 1},
                    }
                )
            ),
        }
    ),
    "Events": _object(
        {
            "totalCount": _COUNT,
            "data": _array(
                _object(
                    {
                        "uid": _TEXT,
                        "frameworkName": _MD5,
                        "podUid": _TEXT_OR_NULL,
                        "taskroleName": _TEXT_OR_NULL,
                        "taskName": _TEXT_OR_NULL,
                        "taskIndex": _COUNT_OR_NULL,
                        "type": {"enum": ["Normal", "Warning"]},
                        "reason": _TEXT,
                        "message": _TEXT,
                        "firstTimestamp": _ISO_MOMENT,
                        "lastTimestamp": _ISO_MOMENT,
                        "count": {"type": "integer", "minimum": 1},
                        "sourceComponent": _TEXT_OR_NULL,
                        "sourceHost": _TEXT_OR_NULL,
                    }
                )
            ),
        }
    ),
    "JobAttempt": _object(
        {
            "jobName": _TEXT,
            "frameworkName": _MD5,
            "userName": _TEXT,
            "state": _STATE,
            "originState": _SUB_STATE,
            "jobStartedTime": _MOMENT_OR_NULL,
            "attemptStartedTime": _MOMENT_OR_NULL,
            "attemptCompletedTime": _MOMENT_OR_NULL,
            "exitCode": _CODE_OR_NULL,
            "exitPhrase": _TEXT_OR_NULL,
            "exitType": _EXIT_TYPE,
            "exitDiagnostics": _nullable(
                _object(
                    {"diagnosticsSummary": _TEXT, "runtime": _nullable(_RUNTIME), "launcher": _TEXT_OR_NULL}
                )
            ),
            **_APP_EXIT,
            "totalGpuNumber": _CODE,
            "totalTaskNumber": _COUNT,
            "totalTaskRoleNumber": _COUNT,
            "taskRoles": _map(_ATTEMPT_ROLE),
            "isLatest": _FLAG,
        },
        {"uid": _TEXT, "attemptIndex": _COUNT},
    ),
    "JobAttempts": {**_array(ref("JobAttempt")), "minItems": 1},
    "TaskAttempts": _object(
        {
            "username": _TEXT,
            "jobName": _TEXT,
            "jobAttemptId": _COUNT,
            "taskRoleName": _TEXT,
            **_TASK,
            "attempts": {**_array(_object({**_TASK_ATTEMPT, **_CONTAINER})), "minItems": 1},
        }
    ),
    "LogLocations": _object({"locations": _array(_object({"name": _TEXT, "uri": _TEXT}))}),
    # --- the cluster
    "VirtualCluster": _object(
        {
            "capacity": _PERCENT,
            "usedCapacity": _PERCENT,
            "dedicated": _FLAG,
            "resourcesUsed": _RESOURCES,
            "resourcesGuaranteed": _RESOURCES,
            "resourcesTotal": _RESOURCES,
        },
        {"maxCapacity": _PERCENT},
    ),
    "VirtualClusters": {
        "anyOf": [
            {**_map(ref("VirtualCluster")), "required": ["default"]},
            _map(_object({"gpuUsed": _COUNT, "gpuAvailable": _CODE, "gpuTotal": _COUNT})),
        ]
    },
    "SkuTypes": _map(_object({"cpu": _COUNT, "memory": _COUNT, "gpu": _COUNT})),
    "Storages": _object(
        {"storages": _array(_object({"name": _TEXT, "share": _FLAG, "volumeName": _TEXT, "default": _FLAG}))}
    ),
    "Nothing": {"type": "array", "maxItems": 0},
    "KubernetesList": _object(
        {
            "kind": {"enum": ["NodeList", "PodList"]},
            "apiVersion": {"const": "v1"},
            "metadata": {"type": "object"},
            "items": _array(_KUBERNETES_OBJECT),
        }
    ),
    "OpenApi": {"type": "object", "required": ["openapi", "info", "paths"]},
    # --- what OpenPAI does not have
    "Ends": _object({"done": _FLAG, "jobs": _map(_JOB_END)}),
    "ServerStatus": {
        "type": "object",
        "required": ["running", "pid", "uri", "home", "version", "resources", "virtual_clusters", "jobs"],
    },
    "Stopping": _object({"stopping": {"const": True}}),
    "Link": _object({"link": _TEXT, "notes": _TEXTS}),
    "Credentials": _object(
        {"uri": _TEXT, "webhdfs_uri": _TEXT, "user": _TEXT, "password": _TEXT_OR_NULL, "token": _TEXT}
    ),
}
