"""The service as one ASGI application: guard, API, page and metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI
from fastapi.responses import FileResponse, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.middleware.cors import CORSMiddleware
from starlette.staticfiles import StaticFiles

from photovax.attack.networks.headers import told_by
from photovax.certificates.keys import KeyRing, key_set, read_keys
from photovax.certificates.register import Register
from photovax.errors import UsageError
from photovax.service.http.api import add_api
from photovax.service.http.context import Context, provide
from photovax.service.http.guard import Guard
from photovax.service.http.offer import Offer
from photovax.service.http.problems import handle_problems
from photovax.service.http.tokens import Tokens
from photovax.service.jobs.job import Unreachable
from photovax.service.jobs.table import Jobs
from photovax.service.settings import Settings
from photovax.service.static import FOLDER, PAGE, WEIGHTS
from photovax.service.workers.intake import Intake
from photovax.service.workers.supervisor import Supervisor
from photovax.version import VERSION

__all__ = ["build_app", "claim"]


def build_app(settings: Settings) -> FastAPI:
    """Build the service. Its workers run while the application runs.

    Raises:
        UsageError: If the database cannot be reached or the settings contradict each other. When
            the application starts: if another service runs on the same folder.
        CertificateError: If the keys cannot be read.
    """
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    jobs = Jobs(settings.jobs, settings.pictures)
    KeyRing(settings.keys)
    _check_networks(settings, Register(settings.register))
    supervisor = Supervisor(settings, jobs)
    registry = CollectorRegistry()
    registry.register(_JobFigures(jobs, supervisor))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        supervisor.start()
        try:
            yield
        finally:
            supervisor.stop()
            jobs.close()

    app = FastAPI(
        title="photovax",
        version=VERSION,
        summary="Immunize photos against edits by diffusion models.",
        openapi_url="/v1/openapi.json",
        docs_url=None,  # these pages load scripts from other sites
        redoc_url=None,
        lifespan=lifespan,
    )
    handle_problems(app)
    provide(app, Context(settings, Offer(settings), jobs, Intake(settings, jobs), supervisor))
    add_api(app)

    @app.get("/.well-known/jwks.json", include_in_schema=False)
    @app.get("/.well-known/photovax-keys.json", include_in_schema=False)
    def published_keys() -> dict[str, Any]:
        return key_set(read_keys(settings.keys))

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")

    @app.get(f"/{FOLDER}/{WEIGHTS.name}", include_in_schema=False)
    def network() -> FileResponse:
        return FileResponse(WEIGHTS, media_type="application/octet-stream")

    app.mount("/", StaticFiles(directory=PAGE, html=True), name="page")
    app.add_middleware(
        Guard, settings=settings, tokens=Tokens(settings.token_file), registry=registry
    )
    if settings.origins:
        # Outside the guard: browsers ask first, without a token, and pages read refusals, too.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=("Authorization", "Idempotency-Key"),
            expose_headers=("Location", "Retry-After"),
        )
    return app


def claim(app: FastAPI) -> None:
    """Claim the service's folder now instead of when the application starts.

    Raises:
        UsageError: If another service runs on the same folder.
    """
    context: Context = app.state.context
    context.supervisor.claim()


def _check_networks(settings: Settings, register: Register) -> None:
    """Refuse a network of no model of the register, which no job would use.

    Raises:
        ModelError: If a file cannot be read, or is no network.
        UsageError: If it is of another model.
    """
    known = {each.sha256 for each in register}
    for file in settings.networks:
        told = told_by(file)
        if told["model_digest"] not in known:
            raise UsageError(
                f"network {file} is of {told['model']} with weights {told['model_digest'][:12]}, "
                "which are not on the register",
                hint="photovax register add MODEL puts the model there",
            )


class _JobFigures(Collector):
    """The number of jobs by state and of workers, at the time of the request."""

    def __init__(self, jobs: Jobs, supervisor: Supervisor) -> None:
        self._jobs, self._supervisor = jobs, supervisor

    def collect(self) -> Iterable[Metric]:
        """Return the gauges."""
        states = GaugeMetricFamily("photovax_jobs", "Jobs by state.", labels=["state"])
        with suppress(Unreachable):  # what else is known is told without the database, too
            for state, count in self._jobs.counts().items():
                states.add_metric([state], count)
            yield states
        yield GaugeMetricFamily(
            "photovax_workers", "Running workers.", value=self._supervisor.alive
        )
