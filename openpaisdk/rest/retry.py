# SPDX-License-Identifier: MIT
"""Which requests are sent again, and after how long."""

from __future__ import annotations

from openpaisdk.constants import RETRY_AFTER_LIMIT_S
from openpaisdk.http.connection import TransportError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from openpaisdk.rest.transport import Request, Response, Transport

DELAYS_S = (0.1, 0.4, 1.0)
"""Pauses before the second, third and fourth try of an idempotent request."""
_BUSY = frozenset((502, 503, 504))
_WORTH_ANOTHER_TRY = frozenset(("refused", "reset"))


def send_with_retries(
    transport: Transport,
    request: Request,
    *,
    sleep: Callable[[float], object],
    retry_refused: bool = True,
    stream: bool = False,
) -> Response:
    """Send, and send again what may be sent again.

    Idempotent requests are repeated when the connection broke, also in the middle of the answer, or a
    gateway answered 502, 503 or 504; any request turned away with 429 is repeated while the waits that it
    asks for are less than a minute.

    Args:
        transport: What sends.
        request: What is sent.
        sleep: Waits for so many seconds; a test hands in its own.
        retry_refused: Whether a refused connection is tried again, or reported at once.
        stream: Whether the body of a success is left unread.

    Raises:
        TransportError: No answer came, for the last time.
    """
    tries = 0
    waited_s = 0.0
    while True:
        may_repeat = request.is_idempotent and tries < len(DELAYS_S)
        try:
            response = transport.send(request)
            if not (stream and response.status < 300):
                _ = response.body  # read while a broken connection is still this request's problem
        except TransportError as exc:
            if (
                not may_repeat
                or exc.kind not in _WORTH_ANOTHER_TRY
                or (exc.kind == "refused" and not retry_refused)
            ):
                raise
            sleep(DELAYS_S[tries])
            tries += 1
            continue
        if response.status == 429:
            pause_s = retry_after_s(response)
        elif response.status in _BUSY and may_repeat:
            pause_s = max(retry_after_s(response, default=0.0), DELAYS_S[tries])
            tries += 1
        else:
            return response
        if waited_s + pause_s > RETRY_AFTER_LIMIT_S:
            return response
        response.close()
        sleep(pause_s)
        waited_s += pause_s


def retry_after_s(response: Response, *, default: float = 1.0) -> float:
    """Return the seconds that ``Retry-After`` asks for; ``default`` when it is absent or a date, at least
    0.1."""
    try:
        return max(0.1, float(response.headers.get("retry-after", default)))
    except ValueError:
        return max(0.1, default)
