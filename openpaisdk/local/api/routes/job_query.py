# SPDX-License-Identifier: MIT
"""The query of a list of jobs (rest-api-v2 §5.2)."""

from __future__ import annotations

from urllib.parse import parse_qsl

from openpaisdk.local.api_error import invalid_parameters
from openpaisdk.local.records import JobQuery
from openpaisdk.local.routing import number_of

LIMIT_DEFAULT = 5000
LIMIT_MAX = 50_000
KEYWORD_LENGTH_MAX = 1000
"""Longer than any name; the database refuses patterns that are very long."""
_OFFSET_MAX = 2**62
_PARAMETERS = (
    "username",
    "vc",
    "state",
    "keyword",
    "tagsContain",
    "tagsNotContain",
    "jobPriority",
    "offset",
    "limit",
    "order",
    "withTotalCount",
)
ORDER_FIELDS = (
    "jobName",
    "submissionTime",
    "username",
    "vc",
    "retries",
    "totalTaskNumber",
    "totalGpuNumber",
    "state",
    "completionTime",
    "jobPriority",
)


def parse_job_query(query_string: bytes) -> JobQuery:
    """Return what a list's query asks for; parameters that are not known are ignored.

    Raises:
        ApiError: 400, a number is none, or a parameter is given twice.
    """
    if not query_string:
        return JobQuery()
    values: dict[str, str] = {}
    for name, value in parse_qsl(query_string.decode("ascii", "replace"), keep_blank_values=True):
        if name not in _PARAMETERS:
            continue
        if name in values:
            raise invalid_parameters(f'"{name}" is given twice, give one value or join them by commas')
        values[name] = value
    keyword = values.get("keyword") or None
    if keyword is not None and len(keyword) > KEYWORD_LENGTH_MAX:
        raise invalid_parameters(f'"keyword" must be no longer than {KEYWORD_LENGTH_MAX} characters')
    limit = _number(values, "limit", LIMIT_DEFAULT)
    if limit > LIMIT_MAX:
        raise invalid_parameters(f"Limit exceeds max number {LIMIT_MAX}.")
    order_by, descending = _order(values.get("order", ""))
    return JobQuery(
        users=_choices(values, "username"),
        virtual_clusters=_choices(values, "vc"),
        states=_choices(values, "state"),
        keyword=keyword,
        tags_contain=_choices(values, "tagsContain"),
        tags_not_contain=_choices(values, "tagsNotContain"),
        priorities=_choices(values, "jobPriority"),
        order_by=order_by,
        descending=descending,
        offset=min(_number(values, "offset", 0), _OFFSET_MAX),
        limit=limit,
        with_total_count=values.get("withTotalCount") == "true",
    )


def _choices(values: dict[str, str], name: str) -> tuple[str, ...]:
    value = values.get(name)
    return tuple(value.split(",")) if value else ()


def _number(values: dict[str, str], name: str, default: int) -> int:
    value = values.get(name)
    if not value:
        return default
    if not (value.isascii() and value.isdecimal()):
        raise invalid_parameters(f'"{name}" must be a whole number, at least 0')
    return number_of(value)


def _order(value: str) -> tuple[str, bool]:
    field, _, direction = value.partition(",")
    if field in ORDER_FIELDS and direction in ("ASC", "DESC"):
        return field, direction == "DESC"
    return "submissionTime", True
