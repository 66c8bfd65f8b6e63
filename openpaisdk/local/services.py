# SPDX-License-Identifier: MIT
"""What the routes of the embedded cluster work with, made once at its start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from openpaisdk.local.access.auth import Authenticator, Permits
from openpaisdk.local.access.guesses import Guesses
from openpaisdk.local.access.sessions import PageSessions
from openpaisdk.local.access.users import AccountStore

if TYPE_CHECKING:
    from openpaisdk.local.access.rate_limits import RateLimits
    from openpaisdk.local.home import LocalHome
    from openpaisdk.local.jobs.scheduler import Scheduler
    from openpaisdk.local.records import Machine


@dataclass(kw_only=True)
class Services:
    """The parts that answer requests, and what the server knows of itself."""

    home: LocalHome
    scheduler: Scheduler
    accounts: AccountStore
    machine: Machine
    owner: str
    """The user who runs the cluster, an admin of it."""
    port: int
    rate_limits: RateLimits | None = None
    """How often clients may ask; ``None``: as often as they like."""
    permits: Permits = field(default_factory=Permits)
    shut_down: Callable[[str], None] = lambda mode: None
    """Asks the server to end, with mode ``kill`` or ``leave``."""

    def __post_init__(self) -> None:
        self.accounts.groups.ensure_for(self.virtual_clusters())
        self.auth = Authenticator(self.accounts)
        self.guesses = Guesses()
        self.sessions = PageSessions(self.uri)
        self.waiting: set[Callable[[], None]] = set()
        """What to call when the server ends, so that answers that wait for something stop waiting."""

    def stop_waiting(self) -> None:
        """End all answers that wait for something; the server is about to end."""
        for leave in list(self.waiting):
            leave()

    @property
    def uri(self) -> str:
        """Address of the server, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def webhdfs_uri(self) -> str:
        """Address of the storage, as WebHDFS clients want it."""
        return self.uri

    def virtual_clusters(self) -> dict[str, tuple[int, int, int]]:
        """Return what each virtual cluster has: CPUs, GPUs, memory in MB; ``default`` is always there."""
        return self.machine.shares()

    def may_use(self, user: str, virtual_cluster: str) -> bool:
        """Return whether a user may submit to a virtual cluster, which has to be there."""
        account = self.accounts.account(user)
        return account is not None and virtual_cluster in self.accounts.virtual_clusters(
            account, self.virtual_clusters()
        )
