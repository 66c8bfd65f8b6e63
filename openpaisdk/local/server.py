# SPDX-License-Identifier: MIT
"""Puts the parts of the server together, serves until it is told to end, and takes them apart again."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import logging
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from openpaisdk._files import read_json, replace_json
from openpaisdk.constants import VERSION
from openpaisdk.errors import ConfigError, LocalClusterError
from openpaisdk.local.access.rate_limits import RateLimits
from openpaisdk.local.access.users import AccountStore
from openpaisdk.local.app import build_app
from openpaisdk.local.connections import BoundedProtocol
from openpaisdk.local.databases import damage_of, is_small, put_aside
from openpaisdk.local.hardware import usable_cpus, usable_memory_mb, visible_gpus
from openpaisdk.local.home import LocalHome
from openpaisdk.local.jobs.admission import shares_problem
from openpaisdk.local.records import Machine
from openpaisdk.local.services import Services

_log = logging.getLogger("openpaisdk.local")
HOME_CHECK_S = 30.0
"""How often the server looks whether its home is still its own."""
HOME_CHECK_VARIABLE = "OPENPAI_LOCAL_HOME_CHECK_S"
"""Another interval, for tests."""
WARM_UP_AFTER_S = 0.5
LOOK_THROUGH_AFTER_S = 5.0
KEEP_ALIVE_S = 75
CLOSE_TIMEOUT_S = 3
_NOT_IN_USER_NAME = re.compile(r"[^\w.-]", re.ASCII)


def login_name() -> str:
    """Return the user's login name in the characters that OpenPAI allows."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # no account for this uid, as in some containers
        name = f"user{os.getuid()}"
    return _NOT_IN_USER_NAME.sub("_", name) or "user"


def machine_of(settings: dict[str, Any]) -> Machine:
    """Return what tasks are given: what the settings say, else what the machine has.

    Raises:
        LocalClusterError: The shares of its virtual clusters are more than it has.
    """
    gpu = settings.get("gpu")
    gpus = tuple(range(gpu)) if gpu is not None else visible_gpus()
    machine = Machine(
        cpu=settings.get("cpu") or usable_cpus(),
        memory_mb=settings.get("memory_mb") or usable_memory_mb(),
        gpus=gpus,
        virtual_clusters={
            name: (cpu, gpu, memory_mb)
            for name, (cpu, gpu, memory_mb) in settings.get("virtual_clusters", {}).items()
        },
    )
    problem = shares_problem(machine)
    if problem is not None:
        raise LocalClusterError(problem, hint="opai local start --vc NAME=CPU:GPU:MEM … with smaller shares")
    return machine


def rate_limits_of(settings: dict[str, Any]) -> RateLimits | None:
    """Return how often clients may ask, ``None`` when the settings do not limit it."""
    limits = settings.get("rate_limits")
    return RateLimits(*limits) if limits else None


def bind(wanted: int | None, last: int | None) -> socket.socket:
    """Return a listening socket on loopback: on the wanted port, else on the last one, else on any.

    Raises:
        LocalClusterError: The wanted port is taken.
    """
    candidates = [wanted] if wanted else [last, 0] if last else [0]
    for port in candidates:
        # Naming the protocol lets asyncio switch Nagle's algorithm off, which costs 40 ms an answer.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(2048)
        except OSError as exc:
            listener.close()
            reason = exc.strerror
            continue
        listener.setblocking(False)
        return listener
    raise LocalClusterError(
        f"cannot listen on port {candidates[0]}: {reason}", hint="opai local start --port N"
    )


class QuietServer(uvicorn.Server):
    """uvicorn without its ten ticks a second and its signal handlers: it sleeps until it is told to end."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ending = asyncio.Event()

    async def main_loop(self) -> None:
        """Wait for the end."""
        await self.ending.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever runs the server."""
        yield


def http_server(app: ASGIApp) -> QuietServer:
    """Return the HTTP server of an application; nothing of a request is ever logged."""
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="error",  # anybody could fill the log with warnings
        access_log=False,
        lifespan="off",
        http=BoundedProtocol,
        ws="none",
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=CLOSE_TIMEOUT_S,
    )
    return QuietServer(config)


def run_server(
    home: LocalHome, settings: dict[str, Any], tell_ready: Callable[[dict[str, Any]], None]
) -> None:
    """Serve until the end.

    Args:
        home: The cluster's folder, whose lock is held.
        settings: As in ``config.json``.
        tell_ready: Called with the contents of ``server.json`` when the server answers.

    Raises:
        LocalClusterError: It cannot start.
    """
    server = _Server(home, settings)
    asyncio.run(server.run(tell_ready))


class _Server:
    def __init__(self, home: LocalHome, settings: dict[str, Any]) -> None:
        self._home = home
        self._settings = settings
        self._close_mode = "leave"
        self._notices: list[str] = []
        """What the user must be told of this start."""
        self._restart_wanted = False
        self._is_looked_through = False

    async def run(self, tell_ready: Callable[[dict[str, Any]], None]) -> None:
        before = _server_file(self._home)
        listener = bind(self._settings.get("port"), before.get("port"))
        self._replace_damaged_databases(thorough=_machine_went_down(before))
        services = self._make_services(listener.getsockname()[1])
        self._http = http_server(build_app(services))
        self._install_signal_handlers(services)
        content = self._write_server_file(services)
        await services.scheduler.start()
        serving = asyncio.ensure_future(self._http.serve(sockets=[listener]))
        await asyncio.sleep(0)
        tell_ready(content)
        watching = asyncio.ensure_future(self._watch_home(services, content))
        looking = asyncio.ensure_future(self._look_through(services))
        asyncio.get_running_loop().call_later(WARM_UP_AFTER_S, _warm_up)
        try:
            await serving
        finally:
            watching.cancel()
            looking.cancel()
            services.stop_waiting()
            await services.scheduler.close(self._close_mode)
            services.accounts.close()
            if not self._restart_wanted:
                self._write_stopped(content)

    def _make_services(self, port: int) -> Services:
        from openpaisdk.local.jobs.executors.process import ProcessExecutor
        from openpaisdk.local.jobs.scheduler import Scheduler
        from openpaisdk.local.jobs.store import JobStore

        home, machine = self._home, machine_of(self._settings)
        accounts = AccountStore(home.accounts)
        owner = accounts.ensure_owner(login_name()).name
        executor = ProcessExecutor(home, asyncio.get_running_loop())
        scheduler = Scheduler(
            home, JobStore(home.database), executor, machine, pass_env=self._settings.get("pass_env", ())
        )
        services = Services(
            home=home,
            scheduler=scheduler,
            accounts=accounts,
            machine=machine,
            owner=owner,
            port=port,
            rate_limits=rate_limits_of(self._settings),
        )
        services.shut_down = lambda mode: self._end(services, mode)
        scheduler.store.on_damage = lambda: self._end_for_restart(services)
        scheduler.uri = services.uri
        scheduler.use_tokens(
            issue=accounts.issue_for_attempt, restore=accounts.restore_for_attempt, revoke=accounts.revoke
        )
        return services

    # --- damaged databases ---------------------------------------------------------------------
    def _replace_damaged_databases(self, *, thorough: bool) -> None:
        """Put aside what cannot be used, before anything of it is; jobs that can be read are saved."""
        from openpaisdk.local.jobs.salvage import READ_AT_START, replace_damaged

        home = self._home
        self._is_looked_through = thorough or is_small(home.database)
        blank = "it is empty, though tasks have run here" if os.listdir(home.tasks) else None
        reason = damage_of(home.database, thorough=thorough, queries=READ_AT_START, blank=blank)
        if reason is not None:
            self._notice(f"the database of jobs was damaged ({reason}): {replace_damaged(home.database)}")
        reason = damage_of(home.accounts, thorough=thorough)
        if reason is not None:
            self._notice(
                f"the database of users was damaged ({reason}): it is kept as {put_aside(home.accounts)!r}; "
                "users, their passwords and tokens must be made anew (opai local credentials)"
            )

    def _notice(self, text: str) -> None:
        _log.error("%s", text)
        self._notices.append(text)

    async def _look_through(self, services: Services) -> None:
        """Look through a database that was too large for it at the start."""
        await asyncio.sleep(LOOK_THROUGH_AFTER_S)
        if not self._is_looked_through:
            await services.scheduler.store.look_through()

    def _end_for_restart(self, services: Services) -> None:
        """End so that clients start the server again, which then replaces the damaged database."""
        self._restart_wanted = True
        self._end(services, "leave")

    # --- the end -------------------------------------------------------------------------------
    def _install_signal_handlers(self, services: Services) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, services, "leave")
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _end(self, services: Services, mode: str) -> None:
        self._close_mode = mode
        services.stop_waiting()
        self._http.ending.set()

    async def _watch_home(self, services: Services, content: dict[str, Any]) -> None:
        """End when the home is deleted or taken over by another server: nobody could find this one."""
        interval_s = float(os.environ.get(HOME_CHECK_VARIABLE, HOME_CHECK_S))
        while True:
            await asyncio.sleep(interval_s)
            if _server_file(self._home).get("pid") != content["pid"]:
                sys.stderr.write("the folder of the cluster is gone, or another server's: this one ends\n")
                self._end(services, "leave")
                return

    # --- server.json ---------------------------------------------------------------------------
    def _write_server_file(self, services: Services) -> dict[str, Any]:
        content = {
            "pid": os.getpid(),
            "uri": services.uri,
            "port": services.port,
            "token": services.accounts.owner_token(services.owner),
            "user": services.owner,
            "home": self._home.folder,
            "version": VERSION,
            "started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "boot": _boot_id(),
            **({"notices": self._notices} if self._notices else {}),
        }
        replace_json(self._home.server_file, content, mode=0o600)
        return content

    def _write_stopped(self, content: dict[str, Any]) -> None:
        if _server_file(self._home).get("pid") == content["pid"]:
            replace_json(self._home.server_file, {**content, "pid": None}, mode=0o600)


def _warm_up() -> None:
    """Load what the first submitted job needs, while nobody waits for it."""
    import openpaisdk.spec.validate  # noqa: F401


def _boot_id() -> str | None:
    """Return what tells this run of the machine from others, where there is such a thing."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


def _machine_went_down(before: dict[str, Any]) -> bool:
    """Tell whether the machine was restarted under the server before; then a disk may have lost writes."""
    return before.get("pid") is not None and before.get("boot") != _boot_id()


def _server_file(home: LocalHome) -> dict[str, Any]:
    try:
        content = read_json(home.server_file, default={})
    except ConfigError:
        return {}
    return content if isinstance(content, dict) else {}
