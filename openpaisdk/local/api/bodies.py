# SPDX-License-Identifier: MIT
"""The bodies that the endpoints take, other than job documents (rest-api-v2 §2, §5 to §8)."""

from __future__ import annotations

from openpaisdk.local.access.users import PASSWORD_LENGTH_MIN
from openpaisdk.local.api.shapes import Anything, Flag, Items, Number, Patch, Shape, Text

USER_NAME = Text(pattern=r"^(?!\.{1,2}$)[A-Za-z0-9_.-]+\Z", pattern_name="username", longest=126)
"""``.`` and ``..`` are no names: a user has a folder on the storage that is called so."""
_GROUP_NAME = Text(pattern=r"^[A-Za-z0-9_]+\Z", pattern_name="groupname", longest=126)
_PASSWORD = Text(shortest=PASSWORD_LENGTH_MIN)
_EMAIL = Text(email=True)
_EMAIL_OR_NONE = Text(email=True, may_be_empty=True)
_TEXT_OR_NONE = Text(may_be_empty=True)
_EXTENSION = Shape(open=True)
_ACLS = Shape(
    fields={"admin": Flag(), "virtualClusters": Items(), "storageConfigs": Items()},
    open=True,
)
_GROUP_EXTENSION = Shape(fields={"acls": _ACLS}, open=True)

LOGIN = Shape(
    fields={
        "username": USER_NAME,
        "password": _PASSWORD,
        "expiration": Number(smallest=60, largest=7 * 24 * 3600, whole=True),
    },
    required=("username", "password"),
)

CREATE_USER = Shape(
    fields={
        "username": USER_NAME,
        "email": _EMAIL_OR_NONE,
        "virtualCluster": Items(),
        "admin": Flag(),
        "password": _PASSWORD,
        "extension": _EXTENSION,
    },
    required=("username", "password"),
)
UPDATE_USER = Patch(
    fields={
        "username": USER_NAME,
        "email": _EMAIL,
        "virtualCluster": Items(),
        "admin": Flag(),
        "password": _PASSWORD,
        "extension": _EXTENSION,
    },
    key="username",
    whole=("email", "virtualCluster", "admin", "password", "extension"),
)
UPDATE_ME = Patch(
    fields={
        "username": USER_NAME,
        "email": _EMAIL,
        "newPassword": _PASSWORD,
        "oldPassword": _PASSWORD,
        "extension": _EXTENSION,
    },
    key="username",
    whole=("email", "newPassword"),
)
USER_EXTENSION = Shape(fields={"extension": _EXTENSION}, required=("extension",))
USER_VIRTUAL_CLUSTERS = Shape(fields={"virtualCluster": Items()}, required=("virtualCluster",))
USER_GROUPS = Shape(fields={"grouplist": Items()}, required=("grouplist",))
USER_GROUP = Shape(fields={"groupname": _GROUP_NAME}, required=("groupname",))
USER_PASSWORD = Shape(fields={"oldPassword": _PASSWORD, "newPassword": _PASSWORD}, required=("newPassword",))
USER_EMAIL = Shape(fields={"email": _EMAIL_OR_NONE})
USER_ADMIN = Shape(fields={"admin": Flag()}, required=("admin",))

CREATE_GROUP = Shape(
    fields={
        "groupname": _GROUP_NAME,
        "description": _TEXT_OR_NONE,
        "externalName": _TEXT_OR_NONE,
        "extension": _GROUP_EXTENSION,
    },
    required=("groupname",),
)
UPDATE_GROUP = Patch(
    fields={
        "groupname": _GROUP_NAME,
        "description": Text(),
        "externalName": Text(),
        "extension": _GROUP_EXTENSION,
    },
    key="groupname",
    whole=("description", "externalName", "extension"),
)
GROUP_EXTENSION = Shape(fields={"extension": _GROUP_EXTENSION}, required=("extension",))
GROUP_DESCRIPTION = Shape(fields={"description": _TEXT_OR_NONE})
GROUP_EXTERNAL_NAME = Shape(fields={"externalName": _TEXT_OR_NONE})
EXTENSION_VALUE = Shape(fields={"data": Anything()}, required=("data",))

VIRTUAL_CLUSTER = Shape(
    fields={
        "vcCapacity": Number(smallest=0, largest=100),
        "vcMaxCapacity": Number(smallest=0, largest=100),
        "description": _TEXT_OR_NONE,
        "externalName": _TEXT_OR_NONE,
    },
    required=("vcCapacity",),
)
VIRTUAL_CLUSTER_STATUS = Shape(
    fields={"vcStatus": Text(one_of=("stopped", "running"))}, required=("vcStatus",)
)

EXECUTION_TYPE = Shape(fields={"value": Text(one_of=("STOP", "START"))}, required=("value",))
TAG = Shape(fields={"value": Text(pattern=r"^[^,]+\Z")}, required=("value",))
