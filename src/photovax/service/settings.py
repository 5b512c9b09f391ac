"""What a provider can set, and where everything is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from photovax.attack.presets import DEFAULT, load_recipe
from photovax.attack.recipe import Recipe
from photovax.errors import UsageError

__all__ = ["Settings", "is_loopback"]


@dataclass(frozen=True)
class Settings:
    """One provider's service.

    Attributes:
        data: Folder of keys, register, tokens, jobs and, while they are needed, pictures.
        database: URL of a PostgreSQL database for the table of jobs; a file in ``data`` when None.
        recipe: Preset or recipe file that photos are immunized with.
        levels: Largest change in levels; the recipe's own when None.
        visibility: How much of a change may be seen where that is not asked for, a word of
            ``photovax.attack.recipe.VISIBILITY``; the recipe's own when None. Goes without
            ``levels``.
        total: All that renewals may ever change, in the unit of the recipe's budget; each
            recipe's own budget when None, as for recipes whose budget has another unit.
        recipes: Other presets or files that a client may name.
        sign_key: Private key in PEM that results get a C2PA manifest with; none when None.
        sign_chain: Its X.509 certificates in PEM.
        weights: Where to look for weights that do not ship with photovax.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` …
        workers: Processes that immunize, or fewer while memory is short; each holds the models
            and one photo in memory.
        queue: Jobs that may wait; more are turned away.
        queue_each: Of one token's; where there are no tokens, all may be one client's.
        job_seconds: How long one job may take.
        keep_seconds: How long a result is kept after its job ended.
        lease_seconds: After how long without a sign of life a worker counts as dead.
        attempts: How often a job is begun that takes its worker down.
        max_bytes: Of one upload, all its parts together.
        max_pixels: Of one picture.
        decode_seconds: Of processor time, to decode one picture.
        decode_bytes: Of memory, to decode one picture.
        requests_per_minute: Of one token, or of one address where there are no tokens.
        tokens: Whether clients need a token.
        hosts: Names under which the service may be asked for; any when empty.
    """

    data: Path
    database: str | None = field(default=None, repr=False)  # a password may stand in it
    recipe: str = DEFAULT
    levels: float | None = None
    visibility: str | None = None
    total: float | None = None
    recipes: tuple[str, ...] = ()
    sign_key: Path | None = None
    sign_chain: Path | None = None
    weights: Path | None = None
    device: str = "auto"
    workers: int = 1
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
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be 1 or more, got {getattr(self, name)}")
        for name in ("job_seconds", "keep_seconds", "lease_seconds"):
            if getattr(self, name) <= 0:
                raise UsageError(f"{name} must be above 0, got {getattr(self, name)}")

    def strength(self, recipe: Recipe) -> Recipe:
        """A recipe as strong as is usual here.

        Raises:
            UnknownName: If the visibility is no word for one.
            UsageError: If there are ``levels``, and the recipe bounds the length of the change.
        """
        if self.levels is not None:
            return recipe.with_levels(self.levels)
        if self.visibility is not None and recipe.constraint.bounds_seen:
            return recipe.with_visibility(self.visibility)
        return recipe

    def total_for(self, recipe: Recipe) -> float | None:
        """All that renewals of photos by a recipe may ever change; None for its own budget."""
        unit = load_recipe(self.recipe).constraint.unit
        return self.total if recipe.constraint.unit == unit else None

    @property
    def keys(self) -> Path:
        """The folder of signing keys."""
        return self.data / "keys"

    @property
    def register(self) -> Path:
        """The register of models."""
        return self.data / "register.json"

    @property
    def token_file(self) -> Path:
        """Hashes of the clients' tokens."""
        return self.data / "tokens.json"

    @property
    def jobs(self) -> Path | str:
        """Where the table of jobs is."""
        return self.database or self.data / "jobs.sqlite"

    @property
    def pictures(self) -> Path:
        """One folder for each job that has pictures."""
        return self.data / "pictures"


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine can reach that address."""
    return host in ("localhost", "::1") or host.startswith("127.")
