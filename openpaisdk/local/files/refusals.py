# SPDX-License-Identifier: MIT
"""Operations of WebHDFS that this storage lacks, refused as an HDFS does that lacks them."""

from __future__ import annotations

from openpaisdk.local.files.hdfs_errors import RemoteError, illegal

_REFUSALS = {
    "AclException": (
        "The ACL operation has been rejected: this storage has no ACLs.",
        {
            "GET": ["GETACLSTATUS"],
            "PUT": ["MODIFYACLENTRIES", "REMOVEACL", "REMOVEACLENTRIES", "REMOVEDEFAULTACL", "SETACL"],
        },
    ),
    "IOException": (
        "The XAttr operation has been rejected: this storage has no XAttrs.",
        {"GET": ["GETXATTRS", "LISTXATTRS"], "PUT": ["REMOVEXATTR", "SETXATTR"]},
    ),
    "SnapshotException": (
        "Directory is not a snapshottable directory.",
        {
            "GET": ["GETSNAPSHOTDIFF", "GETSNAPSHOTDIFFLISTING", "GETSNAPSHOTLIST"],
            "PUT": ["CREATESNAPSHOT", "RENAMESNAPSHOT"],
            "DELETE": ["DELETESNAPSHOT"],
        },
    ),
    "AccessControlException": (
        "Superuser privilege is required.",
        {"PUT": ["ALLOWSNAPSHOT", "DISALLOWSNAPSHOT", "SETQUOTA", "SETQUOTABYSTORAGETYPE"]},
    ),
    "UnsupportedOperationException": (
        "{name} is not supported by this storage.",
        {
            "GET": [
                "GETALLSTORAGEPOLICY",
                "GETECCODECS",
                "GETECPOLICIES",
                "GETECPOLICY",
                "GETSNAPSHOTTABLEDIRECTORYLIST",
                "GETSTORAGEPOLICY",
                "GETTRASHROOTS",
                "GET_BLOCK_LOCATIONS",
            ],
            "PUT": [
                "CANCELDELEGATIONTOKEN",
                "CREATESYMLINK",
                "DISABLEECPOLICY",
                "ENABLEECPOLICY",
                "RENEWDELEGATIONTOKEN",
                "SATISFYSTORAGEPOLICY",
                "SETECPOLICY",
                "SETSTORAGEPOLICY",
            ],
            "POST": ["UNSETECPOLICY", "UNSETSTORAGEPOLICY"],
        },
    ),
}


def refusal(method: str, name: str) -> RemoteError:
    """Return the refusal of an operation that we do not have: Hadoop's own reason, or that there is none."""
    if not name:
        return RemoteError("UnsupportedOperationException", "op=NULL is not supported")
    for exception, (message, operations) in _REFUSALS.items():
        if name in operations.get(method, ()):
            return RemoteError(exception, message.format(name=name))
    return illegal(f'Invalid value for webhdfs parameter "op": {name} is not a valid {method} operation.')
