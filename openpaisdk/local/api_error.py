# SPDX-License-Identifier: MIT
"""A refusal as the REST API words it: a status, a code and a sentence (rest-api-v2 §1.1, §1.2)."""

from __future__ import annotations

from openpaisdk.errors import LocalClusterError


class ApiError(LocalClusterError):
    """Raised anywhere below a route; the gate turns it into the answer.

    Args:
        status: HTTP status.
        code: The API's name of the error, ``None`` for errors that the API itself does not raise.
        message: The sentence, worded as a real server words it where clients may read it.
    """

    def __init__(self, status: int, code: str | None, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.api_code = code

    def body(self) -> dict[str, object]:
        """Return the JSON body."""
        if self.api_code is None:
            return {"message": self.message}
        return {"code": self.api_code, "message": self.message}


def invalid_parameters(message: str) -> ApiError:
    """Return the refusal of a parameter or body that is not of the wanted form."""
    return ApiError(400, "InvalidParametersError", message)


def forbidden(message: str) -> ApiError:
    """Return the refusal of something that this user may not do."""
    return ApiError(403, "ForbiddenUserError", message)


def no_job(message: str) -> ApiError:
    """Return the answer that a job, attempt or task is not there."""
    return ApiError(404, "NoJobError", message)


def no_api(url: str) -> ApiError:
    """Return the answer that the server has nothing at this address."""
    return ApiError(404, "NoApiError", f"API {url} is not found.")
