"""Errors as RFC 9457 problem documents: a word for programs, a line for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from photovax.errors import CertificateError, PhotoError, PhotovaxError, TooManyPixels, UsageError
from photovax.service.failures import NO_ROOM, kind_of, no_room
from photovax.service.jobs.job import Clash, QueueFull, Unreachable

__all__ = ["Problem", "expired", "handle_problems", "problem"]

_STATUS: dict[type[PhotovaxError], int] = {
    Clash: 409,
    QueueFull: 503,
    Unreachable: 503,
    TooManyPixels: 413,
    PhotoError: 422,
    UsageError: 422,
    CertificateError: 422,
}


class Problem(Exception):
    """An error that is answered with a problem document."""

    def __init__(
        self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.headers = dict(headers or {})

    def answer(self) -> Response:
        """Return the problem document."""
        return problem(self.status, self.kind, self.detail, self.headers)


def expired() -> Problem:
    """The problem of a result that was deleted."""
    return Problem(410, "expired", "the result has expired and was deleted")


def problem(
    status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a problem document."""
    body = {
        "type": f"urn:photovax:problem:{kind}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    return Response(
        json.dumps(body), status, dict(headers or {}), media_type="application/problem+json"
    )


def handle_problems(app: FastAPI) -> None:
    """Answer every expected error with a problem document."""

    @app.exception_handler(Problem)
    async def _ours(request: Request, error: Problem) -> Response:
        return error.answer()

    @app.exception_handler(PhotovaxError)
    async def _known(request: Request, error: PhotovaxError) -> Response:
        status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
        headers = {"Retry-After": "30"} if status == 503 else {}
        return problem(status, kind_of(error), str(error), headers)

    @app.exception_handler(RequestValidationError)
    async def _wrong(request: Request, error: RequestValidationError) -> Response:
        # The place and the reason, without the value that was sent.
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return problem(422, "wrong-request", f"{where}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        if isinstance(error.__cause__, OSError) and no_room(error.__cause__):
            return problem(507, *NO_ROOM)  # while the body was being read
        kind = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
        return problem(error.status_code, kind, str(error.detail), error.headers)

    @app.exception_handler(OSError)
    async def _disk(request: Request, error: OSError) -> Response:
        if no_room(error):
            return problem(507, *NO_ROOM)
        raise error
