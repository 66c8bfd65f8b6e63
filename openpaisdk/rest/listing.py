# SPDX-License-Identifier: MIT
"""Lists of jobs, page by page or whole."""

from __future__ import annotations

import time

from openpaisdk.rest.replies import job_item

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from openpaisdk.rest.client import RestClient

MOST_JOBS_AT_ONCE = 50000


class JobList(list):  # type: ignore[type-arg]
    """A list of jobs; ``more`` tells whether the cluster has further ones beyond it."""

    more: bool = False


def list_jobs(
    client: RestClient, query: dict[str, Any], *, name_only: bool, limit: int, offset: int
) -> JobList:
    """Return jobs as ``opai job list`` shows them, or their names.

    Args:
        client: Where to ask.
        query: Parameters of rest-api-v2 §5.2, ``None`` for those that do not matter.
        name_only: Return names instead of dicts.
        limit: Longest list; 0 for all jobs.
        offset: How many to leave out at the beginning.
    """
    items, more = _page(client, query, limit, offset) if limit else (_all(client, query, offset), False)
    now_ms = time.time() * 1000
    found = JobList(item.get("name") if name_only else job_item(item, now_ms=now_ms) for item in items)
    found.more = more
    return found


def _page(
    client: RestClient, query: dict[str, Any], limit: int, offset: int
) -> tuple[list[dict[str, Any]], bool]:
    # One more than wanted tells whether there are more, without the server counting all of them.
    ask = min(limit + 1, MOST_JOBS_AT_ONCE)
    items = client.list_jobs(**query, limit=ask, offset=offset or None)
    if len(items) > ask:  # servers before 1.2 know no paging
        items = items[offset:]
    return items[:limit], len(items) > limit


def _all(client: RestClient, query: dict[str, Any], offset: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        page = client.list_jobs(**query, limit=MOST_JOBS_AT_ONCE, offset=offset + len(found) or None)
        found += page
        if len(page) < MOST_JOBS_AT_ONCE:
            return found
