# SPDX-License-Identifier: MIT
"""``python -m tests.benchmarks.bare``: one handler of Starlette, what ours is measured against.

``GET /jobs`` answers a page of jobs by the same query on the same database file, behind a place that the
request names itself, as rows with their columns' names; nobody is asked for a token.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sqlite3

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def build_app(database: str | None) -> Starlette:
    """Return the application; without a database it only says hello."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True) if database else None

    async def hello(_request: Request) -> Response:
        return Response(b"{}", media_type="application/json")

    async def jobs(request: Request) -> Response:
        from openpaisdk.local.jobs.rows import JOB_COLUMNS

        assert connection is not None
        conditions, values = [], []
        for name in ("user", "state", "before"):
            value = request.query_params.get(name)
            if value:
                conditions.append("id < ?" if name == "before" else f"{name} IN (?)")
                values.append(value)
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        rows = connection.execute(f"SELECT {JOB_COLUMNS} FROM jobs{where} ORDER BY id DESC LIMIT 50", values)
        names = [column[0] for column in rows.description]
        found = [dict(zip(names, row, strict=True)) for row in rows]
        return Response(json.dumps(found), media_type="application/json")

    return Starlette(routes=[Route("/", hello), Route("/jobs", jobs)])


def main() -> None:
    """Serve until a signal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--database")
    parser.add_argument("--ready-fd", type=int, required=True)
    options = parser.parse_args()
    listener = socket.socket(proto=socket.IPPROTO_TCP)  # asyncio sends at once on those only
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    os.write(options.ready_fd, json.dumps({"port": listener.getsockname()[1]}).encode() + b"\n")
    os.close(options.ready_fd)
    config = uvicorn.Config(
        build_app(options.database),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        date_header=False,
        proxy_headers=False,
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
