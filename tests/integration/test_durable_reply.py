# SPDX-License-Identifier: MIT
"""What a submission is told only after it is on the disk: commit, sync, then the answer, in that order."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import threading
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from openpaisdk.local.access.users import AccountStore
from openpaisdk.local.app import build_app
from openpaisdk.local.home import LocalHome
from openpaisdk.local.records import JobState
from openpaisdk.local.services import Services
from tests.integration.scheduling import cluster, job, run, until

pytestmark = pytest.mark.integration
PORT = 4321


async def post_job(app: Any, token: str, document: dict[str, Any], on_status: Any) -> None:
    """Send a submission through the whole application; ``on_status`` is called as the answer begins."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/v2/jobs",
        "query_string": b"",
        "headers": [
            (b"host", f"127.0.0.1:{PORT}".encode()),
            (b"authorization", f"Bearer {token}".encode()),
            (b"content-type", b"text/yaml"),
        ],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": json.dumps(document).encode(), "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            on_status(message["status"])

    await app(scope, receive, send)


@pytest.mark.parametrize("secrets", [{}, {"word": "hidden"}])
def test_the_202_follows_the_sync_that_follows_the_commit_that_follows_the_secrets(
    home: LocalHome, monkeypatch: pytest.MonkeyPatch, secrets: dict[str, str]
) -> None:
    order: list[str] = []

    def record_syncs(name: str) -> None:
        real_sync = getattr(os, name)

        def sync(descriptor: int) -> None:
            real_sync(descriptor)
            order.append(f"synced {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")

        monkeypatch.setattr(os, name, sync)

    async def scenario() -> None:
        async with cluster(home) as scheduler:
            accounts = AccountStore(home.accounts)
            owner = accounts.ensure_owner("alice").name
            services = Services(
                home=home,
                scheduler=scheduler,
                accounts=accounts,
                machine=scheduler.machine,
                owner=owner,
                port=PORT,
            )
            app, token = build_app(services), accounts.owner_token(owner)
            scheduler.store.flush()
            scheduler.store._connection.set_trace_callback(
                lambda statement: order.append(statement) if statement == "COMMIT" else None
            )
            record_syncs("fsync")
            record_syncs("fdatasync")
            document = dict(job("j", "sleep 600").document)
            if secrets:
                document["secrets"] = secrets
            await post_job(app, token, document, lambda status: order.append(f"told {status}"))
            await scheduler.wait([(owner, "j")], timeout_s=0)
            accounts.close()

    run(scenario)
    told, committed = order.index("told 202"), order.index("COMMIT")
    assert committed < order.index("synced cluster.db-wal") < told
    assert committed < order.index("synced local") < told  # the log's own entry in its folder
    if secrets:
        secret_file = next(name for name in order if name.startswith("synced 1.json"))
        assert order.index(secret_file) < order.index("synced secrets") < committed


def test_submissions_at_once_share_syncs_and_none_is_told_before_its_own(
    home: LocalHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk: set[str] = set()
    told: list[str] = []

    async def scenario() -> None:
        async with cluster(home, cpu=1) as scheduler:
            real_sync = os.fdatasync

            def sync(descriptor: int) -> None:
                committed = {name for (name,) in other.execute("SELECT name FROM jobs")}
                real_sync(descriptor)
                on_disk.update(committed)

            other = sqlite3.connect(home.database, check_same_thread=False)  # sees what is committed
            monkeypatch.setattr(os, "fdatasync", sync)

            async def submit(number: int) -> None:
                name = f"j{number}"
                await asyncio.sleep(number % 5 / 500)
                await scheduler.submit("alice", job(name, "true"))
                assert name in on_disk
                told.append(name)

            await asyncio.gather(*(submit(number) for number in range(40)))
            other.close()

    run(scenario)
    assert len(told) == 40


def test_a_job_can_be_stopped_while_its_sender_still_waits(
    home: LocalHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = tmp_path / "ran"
    release = threading.Event()
    real_sync = os.fdatasync

    def sync(descriptor: int) -> None:
        release.wait(30)
        real_sync(descriptor)

    async def scenario() -> None:
        async with cluster(home) as scheduler:
            monkeypatch.setattr(os, "fdatasync", sync)
            submitting = asyncio.ensure_future(scheduler.submit("alice", job("j", f"touch {ran}")))
            await until(lambda: scheduler.job("alice", "j") is not None)
            scheduler.stop(scheduler.job("alice", "j"))
            release.set()
            await submitting
            [record] = await scheduler.wait([("alice", "j")], timeout_s=30)
            assert record.state is JobState.STOPPED

    run(scenario)
    assert not ran.exists()
