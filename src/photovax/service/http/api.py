"""The API: all routes under /v1."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from photovax.service.http.answers import ProblemView
from photovax.service.http.routes import health, jobs, keys, limits, models, orders, pictures

__all__ = ["add_api"]

# As a schema: the media type of a model would be application/json.
_PROBLEM = {
    "description": "A problem document.",
    "content": {"application/problem+json": {"schema": ProblemView.model_json_schema()}},
}
_PROBLEMS: dict[int | str, dict[str, Any]] = dict.fromkeys(
    (400, 401, 403, 404, 408, 409, 410, 413, 421, 422, 429, 503, 507), _PROBLEM
)


def add_api(app: FastAPI) -> None:
    """Add the API's routes to an application; see ``context.provide``."""
    for resource in (orders, jobs, pictures, models, limits, keys, health):
        app.include_router(resource.router, responses=_PROBLEMS)
