"""A provider's settings and the places of its files."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from photovax.attack.presets import DEFAULT, load_recipe
from photovax.attack.recipe import Recipe
from photovax.errors import UsageError

__all__ = ["CONNECTIONS", "Settings", "is_loopback"]

CONNECTIONS = 1000
"""Largest number of open connections of one service."""

# As browsers send it: in lower case, without a path.
_ORIGIN = re.compile(r"https?://[a-z0-9.\-\[\]:]+")
_ROOT = re.compile(r"(/[A-Za-z0-9_.-]+)+")


@dataclass(frozen=True)
class Settings:
    """The settings of one service.

    Attributes:
        data: Folder of keys, register, tokens, jobs and, while they are needed, pictures.
        database: URL of a PostgreSQL database for the table of jobs; a file in ``data`` when None.
        recipe: Preset or recipe file that photos are immunized with by default.
        levels: Largest change in 8-bit levels; the recipe's own when None.
        visibility: Default visibility of the change, a word of
            ``photovax.attack.budgets.VISIBILITY``; the recipe's own when None. Excludes ``levels``.
        total: Largest change of a photo by all its renewals together, in the unit of the recipe's
            budget; each recipe's own budget when None. Recipes whose budget has another unit always
            use their own.
        recipes: Other presets or recipe files that a client may name.
        sign_key: Private key in PEM that signs C2PA manifests of results; no manifests when None.
        sign_chain: X.509 certificates of that key in PEM.
        weights: Folder of weights that do not ship with photovax.
        networks: Files of perturbation networks that do not ship with photovax.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` …
        workers: Number of worker processes; fewer run while memory is short. Each holds the models
            and one photo in memory. None for one, or as many as the cluster has room for.
        cluster: Address of a Ray cluster whose actors are the workers, or ``local`` for one of this
            machine; processes of this machine when None.
        store: URL of a folder in an object store for pictures; a folder in ``data`` when None.
        queue: Largest number of waiting jobs.
        queue_each: Largest number of waiting jobs of one token.
        job_seconds: Time limit of one job.
        keep_seconds: Time for which a result is kept after its job ended.
        lease_seconds: Time without a sign of life after which a worker counts as dead.
        attempts: Largest number of attempts at a job whose workers die.
        max_bytes: Largest size of one upload, all its parts together.
        max_pixels: Largest number of pixels of one picture.
        decode_seconds: Limit on processor time for decoding one picture.
        decode_bytes: Limit on memory for decoding one picture.
        requests_per_minute: Rate limit of one token, or of one address where there are no tokens.
        tokens: Whether clients need a token.
        hosts: Host names that requests may be addressed to; any when empty.
        origins: Other sites whose pages may use the API, such as ``https://example.org``.
        root_path: Path under which a proxy shows the service, such as ``/photovax``; none when
            empty. The proxy may remove it from requests or not.

    Raises:
        UsageError: If a setting is out of range or two contradict each other.
    """

    data: Path
    database: str | None = field(default=None, repr=False)  # may contain a password
    recipe: str = DEFAULT
    levels: float | None = None
    visibility: str | None = None
    total: float | None = None
    recipes: tuple[str, ...] = ()
    sign_key: Path | None = None
    sign_chain: Path | None = None
    weights: Path | None = None
    networks: tuple[Path, ...] = ()
    device: str = "auto"
    workers: int | None = None
    cluster: str | None = None
    store: str | None = None
    queue: int = 500
    queue_each: int = 100
    job_seconds: float = 1800
    keep_seconds: float = 3600
    lease_seconds: float = 30
    attempts: int = 3
    max_bytes: int = 64 * 1024**2
    max_pixels: int = 50_000_000
    decode_seconds: int = 60
    decode_bytes: int = 4 * 1024**3
    requests_per_minute: int = 600
    tokens: bool = False
    hosts: tuple[str, ...] = field(default=("127.0.0.1", "localhost", "[::1]"))
    origins: tuple[str, ...] = ()
    root_path: str = ""

    def __post_init__(self) -> None:
        if (self.sign_key is None) != (self.sign_chain is None):
            raise UsageError(
                "a signing key and its certificates go together, got only one of them",
                hint="give both --sign-key and --sign-chain, or none",
            )
        if self.levels is not None and self.visibility is not None:
            raise UsageError(
                "a largest change and a visibility exclude each other, got both",
                hint="give --budget or --visibility",
            )
        for name in ("workers", "queue", "queue_each", "attempts", "max_bytes", "max_pixels"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be 1 or more, got {value}")
        for origin in self.origins:
            if not _ORIGIN.fullmatch(origin):
                raise UsageError(
                    f"an origin is a scheme and a host without a path, got {origin!r}",
                    hint="give one such as --allow-origin https://example.org",
                )
        if self.root_path and not _ROOT.fullmatch(self.root_path):
            raise UsageError(
                "a root path begins with a slash, does not end with one, and has letters, digits, "
                f"-, _ and . between slashes, got {self.root_path!r}",
                hint="give one such as --root-path /photovax",
            )
        for name in ("job_seconds", "keep_seconds", "lease_seconds"):
            if getattr(self, name) <= 0:
                raise UsageError(f"{name} must be above 0, got {getattr(self, name)}")

    def strength(self, recipe: Recipe) -> Recipe:
        """Return a recipe with this service's default strength.

        Raises:
            UnknownName: If ``visibility`` is not a word of ``VISIBILITY``.
            UsageError: If ``levels`` is set and the recipe bounds the length of the change.
        """
        if self.levels is not None:
            return recipe.with_levels(self.levels)
        if self.visibility is not None and recipe.constraint.bounds_seen:
            return recipe.with_visibility(self.visibility)
        return recipe

    def total_for(self, recipe: Recipe) -> float | None:
        """Return the largest change by all renewals together of photos immunized with a recipe.

        None stands for the recipe's own budget.
        """
        unit = load_recipe(self.recipe).constraint.unit
        return self.total if recipe.constraint.unit == unit else None

    @property
    def keys(self) -> Path:
        """Folder of the signing keys."""
        return self.data / "keys"

    @property
    def register(self) -> Path:
        """Path of the register of models."""
        return self.data / "register.json"

    @property
    def token_file(self) -> Path:
        """Path of the hashes of the clients' tokens."""
        return self.data / "tokens.json"

    @property
    def jobs(self) -> Path | str:
        """Path of the SQLite file or URL of the PostgreSQL database with the table of jobs."""
        return self.database or self.data / "jobs.sqlite"

    @property
    def pictures(self) -> Path | str:
        """Folder, or URL of one in a store, with one subfolder for each job that has pictures."""
        return self.store or self.data / "pictures"


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine can reach an address."""
    return host in ("localhost", "::1") or host.startswith("127.")
