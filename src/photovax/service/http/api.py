"""The API: all routes under /v1."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, HTTPException
from fastapi.routing import APIRoute

from photovax.service.http.answers import ProblemView
from photovax.service.http.routes import health, jobs, keys, limits, models, orders, pictures

__all__ = ["add_api"]

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

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
    routers = [each.router for each in (orders, jobs, pictures, models, limits, keys, health)]
    for router in routers:
        app.include_router(router, responses=_PROBLEMS)
    routes = [each for router in routers for each in router.routes if isinstance(each, APIRoute)]

    # Else the page's files, which are at the root, would answer for what is not here.
    @app.api_route("/v1/{rest:path}", methods=_METHODS, include_in_schema=False)
    def nothing(rest: str) -> None:
        here = [each.methods for each in routes if each.path_regex.match(f"/v1/{rest}")]
        if not here:
            raise HTTPException(404)
        allowed = {method for methods in here for method in methods or ()}
        if "GET" in allowed:
            allowed.add("HEAD")
        raise HTTPException(405, headers={"Allow": ", ".join(sorted(allowed))})
