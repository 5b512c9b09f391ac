"""The register: the models that photos are immunized against, and the dates of their support.

It is a JSON file, kept by the provider. A certificate is stale if it does not cover a model that is
supported today; see ``gaps``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

from photovax.certificates.document import Certificate
from photovax.certificates.locks import locked
from photovax.digests import file_digest
from photovax.errors import ModelError, UsageError
from photovax.machine.device import pick_device
from photovax.models.catalog.entries import DEFAULT_MODEL
from photovax.models.catalog.places import each_once, model_folder
from photovax.models.load import load_autoencoder
from photovax.pictures.atomic import write_text
from photovax.registry import unknown
from photovax.version import VERSION

__all__ = [
    "Gap",
    "Register",
    "Registered",
    "check_weights",
    "gaps",
    "registered",
    "same_weights",
    "today",
]


@dataclass(frozen=True)
class Registered:
    """One model of the register.

    Attributes:
        name: Name of the model in certificates.
        version: Version of its weights, as named by its makers.
        model: Catalogue name or folder to load it from.
        sha256: SHA-256 of its autoencoder's weights.
        since: First day of support.
        until: Last day of support; open when None.
    """

    name: str
    version: str
    model: str
    sha256: str
    since: date
    until: date | None = None

    def supported(self, day: date) -> bool:
        """Whether the model is supported on a day."""
        return self.since <= day and (self.until is None or day <= self.until)

    def overlaps(self, other: Registered) -> bool:
        """Whether there is a day on which both are supported, from today on."""
        first = max(self.since, other.since, today())
        return self.supported(first) and other.supported(first)


@dataclass(frozen=True)
class Gap:
    """A model supported today that a certificate does not cover, and the reason."""

    model: Registered
    reason: str


def today() -> date:
    """The date in UTC."""
    return datetime.now(UTC).date()


def registered(
    model: str,
    *,
    name: str | None = None,
    version: str = "1",
    since: date | None = None,
    until: date | None = None,
    weights: Path | None = None,
) -> Registered:
    """Describe a model for the register, with the digest of its present weights.

    Raises:
        UnknownName: If the model is unknown.
        ModelError: If its weights cannot be loaded.
        UsageError: If its support would end before it begins.
    """
    loaded = load_autoencoder(model, device=pick_device("cpu"), weights=weights)
    begins = since or today()
    if until is not None and until < begins:
        raise UsageError(f"support would end on {until}, before it begins on {begins}")
    folder = Path(model)
    return Registered(
        name=name or loaded.name,
        version=version,
        model=str(folder.resolve()) if folder.is_dir() else model,
        sha256=loaded.digest,
        since=begins,
        until=until,
    )


def _embedded() -> Registered:
    """The model that ships with photovax. It is hashed without loading torch."""
    weights = model_folder(DEFAULT_MODEL) / "vae" / "diffusion_pytorch_model.safetensors"
    digest = file_digest(weights)
    return Registered(DEFAULT_MODEL, VERSION, DEFAULT_MODEL, digest, today())


class Register:
    """The models of one provider.

    Args:
        path: JSON file.
        create: Whether it is created with the embedded model when missing.

    Raises:
        UsageError: If the file is not a register, or missing.
        SaveError: If it cannot be created.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self.path = path
        if not path.exists():
            if not create:
                raise UsageError(f"there is no register of models at {path}")
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with locked(path):
                if not path.exists():  # another service may have created it
                    self._write([_embedded()])

    def __iter__(self) -> Iterator[Registered]:
        """Iterate over all models, past ones included, oldest first."""
        return iter(self._read())

    def supported(self, day: date | None = None) -> tuple[Registered, ...]:
        """Return the models that are supported on a day, today when None."""
        return tuple(each for each in self if each.supported(day or today()))

    def add(self, model: Registered) -> None:
        """Add a model. Other versions of that name stay supported.

        Raises:
            UsageError: If the register has this version, or a model that is supported at the same
                time, today or later, whose folder has the same name.
        """
        with locked(self.path):
            known = self._read()
            for each in known:
                if (each.name, each.version) == (model.name, model.version):
                    raise UsageError(
                        f"{model.name} {model.version} is on the register already",
                        hint="give another --version",
                    )
            for each in known:
                if each.overlaps(model):
                    each_once((each.model, model.model))
            self._write([*known, model])

    def end(self, name: str, version: str, until: date) -> None:
        """Set the last day of a model's support.

        Raises:
            UnknownName: If the register does not have the model.
        """
        with locked(self.path):
            known = self._read()
            if not any((each.name, each.version) == (name, version) for each in known):
                listed = {f"{each.name} {each.version}": None for each in known}
                raise unknown("registered model", f"{name} {version}", listed)
            self._write(
                [
                    replace(each, until=until)
                    if (each.name, each.version) == (name, version)
                    else each
                    for each in known
                ]
            )

    def _read(self) -> list[Registered]:
        try:
            rows = json.loads(self.path.read_text(encoding="utf-8"))["models"]
            return [
                Registered(
                    **{
                        **row,
                        "since": date.fromisoformat(row["since"]),
                        "until": row["until"] and date.fromisoformat(row["until"]),
                    }
                )
                for row in rows
            ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"register {self.path} cannot be read: {error}") from None

    def _write(self, models: Sequence[Registered]) -> None:
        rows = {"models": [asdict(each) for each in models]}
        text = json.dumps(rows, indent=1, default=date.isoformat) + "\n"
        write_text(text, self.path, overwrite=True)


def gaps(certificate: Certificate, models: Sequence[Registered]) -> tuple[Gap, ...]:
    """Return the models that a certificate does not cover; it is stale if there are any."""
    covered = {each.sha256: each for each in certificate.models}
    names = {each.name for each in certificate.models}
    found = []
    for model in models:
        facts = covered.get(model.sha256)
        if facts is not None and facts.verdict != "FAIL":
            continue
        if facts is not None:
            reason = "its latent moved hardly further than by noise"
        elif model.name in names:
            reason = "its weights differ from those that were certified"
        else:
            reason = f"on the register since {model.since}, and not among the certified models"
        found.append(Gap(model, reason))
    return tuple(found)


def same_weights(model: Registered, models: Iterable[Registered]) -> tuple[Registered, ...]:
    """The other models, by name or version, that have the weights of one."""
    return tuple(
        each
        for each in models
        if each.sha256 == model.sha256 and (each.name, each.version) != (model.name, model.version)
    )


def check_weights(model: Registered, digest: str) -> None:
    """Compare a model's weights with those that were registered.

    Raises:
        ModelError: If they differ.
    """
    if digest != model.sha256:
        raise ModelError(
            f"model {model.name} {model.version}: its weights have changed since they were "
            "registered",
            hint="end that version with --until yesterday, then add it as a new one",
        )
