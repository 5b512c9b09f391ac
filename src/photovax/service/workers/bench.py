"""The work of each kind of job: pictures and parameters in, files and figures out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from photovax.attack.optimise import Step
from photovax.attack.presets import load_recipe
from photovax.attack.recipe import Recipe
from photovax.certificates.document import parse_certificate
from photovax.certificates.issuing import Issuer
from photovax.certificates.keys import KeyRing
from photovax.certificates.likeness import dhash
from photovax.certificates.register import Gap, Registered, gaps
from photovax.certificates.renewal import Renewer, Wish
from photovax.certificates.verification import Seen, verify
from photovax.checks.check import Check
from photovax.errors import MetricUnavailable, UsageError
from photovax.evaluation.true_edits import find_true_edit
from photovax.immunized import Saved
from photovax.metrics.visibility import flip_picture, words
from photovax.models.catalog.entries import DEFAULT_MODEL
from photovax.models.load import usual_edit
from photovax.pictures.masks import white_of
from photovax.pictures.outputs import Destination
from photovax.pictures.photo import Metadata, Photo, read_photo
from photovax.pictures.write import write_photo
from photovax.service.settings import Settings
from photovax.service.workers.doing import Tick
from photovax.service.workers.parcels import read_parcel
from photovax.service.workers.provider import SIGNED, Provider

if TYPE_CHECKING:
    from photovax.adversary.edits import Adversary
    from photovax.certificates.credential import Credential

__all__ = ["Bench"]

_SHOWN = {".png", ".jpg", ".webp", ".avif"}  # by every browser


class Bench:
    """Models and keys of a worker, loaded on first use; the models of today are kept.

    Args:
        settings: The service's.
        provider: Function that returns its keys and register, and the credential if it is told that
            the job signs; None to read its files.
    """

    def __init__(
        self, settings: Settings, provider: Callable[[bool], Provider] | None = None
    ) -> None:
        self._settings = settings
        # Read for each job, since keys are rotated, and models registered, by other processes.
        self._provider = provider or partial(Provider.of, settings)
        self._kept: Issuer | None = None
        self._credential: Credential | None = None

    def warm(self) -> None:
        """Load what most jobs need."""
        self._issuer(self._today)

    def do(
        self, kind: str, folder: Path, output: Path, asked: dict[str, Any], tick: Tick
    ) -> dict[str, Any]:
        """Do one job.

        Args:
            kind: ``immunizations``, ``renewals``, ``checks`` or ``edits``.
            folder: Folder of the job's pictures.
            output: Folder for the results; created.
            asked: Parameters of the job.
            tick: Called with the number of steps done and in all; may raise to stop the work.

        Returns:
            The result without its pictures.

        Raises:
            PhotovaxError: If the job cannot be done.
        """
        output.mkdir()
        # Before the work, which would be lost without it.
        self._credential = self._provider(True).credential if kind in SIGNED else None
        does = {
            "immunizations": self._immunize,
            "renewals": self._renew,
            "checks": self._check,
            "edits": self._edit,
        }
        return does[kind](folder, output, asked, tick)

    @property
    def _today(self) -> tuple[Registered, ...]:
        return self._provider(False).models

    @property
    def _ring(self) -> KeyRing:
        return self._provider(False).ring

    def _issuer(self, models: tuple[Registered, ...]) -> Issuer:
        if self._kept is None or self._kept.models != models:
            self._kept = None  # two sets of models may not fit in memory
            self._kept = Issuer(
                models,
                self._ring,
                weights=self._settings.weights,
                networks=self._settings.networks,
                device=self._settings.device,
            )
        self._kept.ring = self._ring
        return self._kept

    @cached_property
    def _adversary(self) -> Adversary:
        # Slow to import, and most jobs need no pipeline.
        from photovax.adversary.edits import Adversary

        return Adversary(DEFAULT_MODEL, device=self._settings.device)

    def _written(self, asked: dict[str, Any]) -> Recipe:
        return load_recipe(asked.get("recipe") or self._settings.recipe)

    def _recipe(self, asked: dict[str, Any]) -> Recipe:
        recipe = self._written(asked)
        if (levels := asked.get("levels")) is not None:
            return recipe.with_levels(levels)
        if (visibility := asked.get("visibility")) is not None:
            recipe = recipe.with_visibility(visibility)
        else:
            recipe = self._settings.strength(recipe)
        total = self._settings.total_for(recipe)
        # A louder visibility has a larger bound, which must stay within what is certified.
        if total is None or recipe.constraint.most <= total:
            return recipe
        return recipe.with_bound(total)

    def _immunize(
        self, folder: Path, output: Path, asked: dict[str, Any], tick: Tick
    ) -> dict[str, Any]:
        photo = read_parcel(folder / "photo.npz")
        if asked.get("strip_gps"):
            photo = photo.without_gps()
        if asked.get("forbid_ai"):
            photo = photo.forbidding_ai()
        mask = _mask(folder, photo)
        file = output / f"photo{asked['suffix']}"
        destination = Destination(file)
        destination.check_fits(photo, masked=mask is not None)
        recipe, issuer = self._recipe(asked), self._issuer(self._today)
        result = issuer.immunizer.immunize(photo, recipe, mask=mask, callback=_steps(tick))
        if result.steps == 0:
            tick(1, 1)  # the pass of a network, after which the result is measured
        saved = issuer.immunizer.save(result, destination)
        text = issuer.certify(
            file,
            photo,
            recipe,
            total=self._settings.total_for(recipe),
            masked=mask is not None,
            known=saved.seen,
            networks=result.networks,
        )
        (output / "certificate.json").write_text(text, encoding="utf-8")
        after = read_photo(file, max_pixels=photo.width * photo.height)
        mapped = _write_map(photo, after, output / "flip.png")
        preview = file.suffix not in _SHOWN
        if preview:
            write_photo(_bare(after), output / "preview.png")
        signed = self._sign(file, text)
        write_photo(_bare(photo), output / "original.png")
        return {
            "file": file.name,
            "signed": signed,
            "flip": mapped,
            "preview": preview,
            **_visible(saved),
            "models": _models(text),
            "networks": dict(result.networks),
            "notes": list(saved.notes),
            "visibility": recipe.visibility,
            "levels": recipe.levels,
        }

    def _renew(
        self, folder: Path, output: Path, asked: dict[str, Any], tick: Tick
    ) -> dict[str, Any]:
        photo = read_parcel(folder / "photo.npz")
        first = folder / "original.npz"
        renewer = Renewer(
            self._ring,
            self._today,
            self._recipe(asked),
            self._issuer,
            written=self._written(asked),
        )
        wish = Wish(
            photo=photo,
            seen=Seen(asked["sha256"], dhash(photo.visible())),
            certificate=asked["certificate"],
            output=Destination(output / f"photo{asked['suffix']}"),
            original=read_parcel(first) if first.exists() else None,
            mask=_mask(folder, photo),
            callback=_steps(tick),
        )
        done = renewer.renew(wish)
        if done is None:
            return {"lacking": [], "basis": None, "file": None}
        (output / "certificate.json").write_text(done.certificate, encoding="utf-8")
        signed = self._sign(wish.output.path, done.certificate)
        return {
            "lacking": [_gap(gap) for gap in done.gaps],
            "basis": done.basis,
            "file": wish.output.path.name,
            "signed": signed,
            "models": _models(done.certificate),
        }

    def _sign(self, file: Path, certificate: str) -> bool:
        """Sign a photo with a C2PA manifest that holds its certificate, if the provider signs.

        Returns:
            Whether the photo is signed.
        """
        if self._credential is None:
            return False
        from photovax.certificates.manifest import sign_photo

        signed = file.with_name(f"signed{file.suffix}")
        sign_photo(file, signed, self._credential, certificate=certificate)
        signed.replace(file)
        return True

    def _check(
        self, folder: Path, output: Path, asked: dict[str, Any], tick: Tick
    ) -> dict[str, Any]:
        photo = read_parcel(folder / "photo.npz")
        first, text = folder / "original.npz", asked.get("certificate")
        if text is None and not first.exists():
            raise UsageError("a check needs the original, the photo's certificate, or both")
        found: dict[str, Any] = {}
        if text is not None:
            seen = Seen(asked["sha256"], dhash(photo.visible()))
            held = verify(text, self._ring.public, photo=seen)
            found["certificate"] = {
                "valid": held.valid,
                "reasons": list(held.reasons),
                "photo": held.photo,
                "lacking": [_gap(gap) for gap in gaps(held.certificate, self._today)],
            }
            if held.valid:  # else anyone could have written them
                found["certificate"] |= {
                    "budget": held.certificate.budget.model_dump(),
                    "models": _models(text),
                }
        if first.exists():
            size = load_recipe(self._settings.recipe).size
            issuer = self._issuer(self._today)
            survival = bool(asked.get("survival"))
            checked = issuer.check_copy(photo, read_parcel(first), size=size, survival=survival)
            found |= {
                "verdict": checked.verdict.value,
                "step": None if checked.step is None else checked.step.line,
                **_visible(checked),
                "models": {
                    name: {
                        "verdict": each.verdict.value,
                        "effect": asdict(each.effect),
                        "floor": asdict(each.floor),
                    }
                    for name, each in checked.models.items()
                },
            }
            if checked.survival is not None:
                found["survival"] = checked.survival.figures()
        return found

    def _edit(
        self, folder: Path, output: Path, asked: dict[str, Any], tick: Tick
    ) -> dict[str, Any]:
        edit = usual_edit(DEFAULT_MODEL, asked["mode"]).asking(asked["prompt"])
        size = load_recipe(self._settings.recipe).size
        for count, name in enumerate(("original", "immunized")):
            tick(count, 2)
            pixels = read_photo(folder / name).visible()
            made = self._adversary.edit(pixels, edit, seed=asked["seed"], size=size)
            write_photo(Photo(made, None, Metadata(), "PNG", ()), output / f"{name}.png")
        tick(2, 2)
        return {"known": find_true_edit(asked["prompt"]) is not None}


def _visible(found: Saved | Check) -> dict[str, Any]:
    """Figures of how visible a change is, and what they mean; None if not measured."""
    jod = found.seen.jod
    return {
        "visible": found.visible.figures() | found.seen.figures(),
        "seen": None if jod is None else words(jod),
    }


def _bare(photo: Photo) -> Photo:
    """A photo with its colour profile alone, to be looked at."""
    return replace(photo, metadata=Metadata(icc=photo.metadata.icc))


def _write_map(photo: Photo, after: Photo, target: Path) -> bool:
    """Write FLIP's map of the visible change between a photo and a saved one.

    Returns:
        Whether there is one; not without the package or with too little memory.
    """
    try:
        made = flip_picture(photo.visible(), after.visible())
    except MetricUnavailable:
        return False
    write_photo(Photo(made, None, Metadata(), "PNG", ()), target)
    return True


def _mask(folder: Path, photo: Photo) -> np.ndarray | None:
    """The pixels that may change, bool (H, W); None if the job has no mask."""
    file = folder / "mask.npz"
    if not file.exists():
        return None
    return white_of(read_parcel(file), photo, name="the mask")


def _steps(tick: Tick) -> Callable[[Step], None]:
    return lambda step: tick(step.index + 1, step.steps)


def _gap(gap: Gap) -> dict[str, str]:
    return {"name": gap.model.name, "version": gap.model.version, "reason": gap.reason}


def _models(text: str) -> dict[str, Any]:
    """A certificate's statements on each model; of two versions of one, by their weights."""
    models = parse_certificate(text)[0].models
    count = Counter(name for name, _ in {(each.name, each.sha256) for each in models})
    return {
        each.name if count[each.name] == 1 else f"{each.name} {each.sha256[:12]}": each.model_dump(
            include={"verdict", "effect", "floor", "network"}
        )
        for each in models
    }
