"""Running an evaluation: photos x recipes x purifications x edits x seeds, each unit once.

Results are stored at once, under a digest of everything that determines them (photo, recipe,
weights, edit …). An interrupted run continues where it stopped, and another plan computes only what
is new.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from photovax.adversary.edits import Adversary
from photovax.adversary.purify import (
    THEN,
    Purifier,
    in_turn,
    load_purifier,
    purification_digest,
)
from photovax.errors import MetricUnavailable, PhotovaxError, UsageError, first_line
from photovax.evaluation.following import CLIP_SCORES, following
from photovax.evaluation.plan import NONE, Asked, Floor, Plan, mask_of
from photovax.evaluation.results import Case, ProtectedPhoto, Results
from photovax.evaluation.store import array_text, text_array
from photovax.evaluation.subject import Subject, noise_like
from photovax.evaluation.survival import least_effects
from photovax.evaluation.units import Protection, Unit, Units
from photovax.immunizer import Immunizer
from photovax.metrics.clip import Clip
from photovax.metrics.contracts import PairMetric, load_metrics
from photovax.metrics.distortion import visibility
from photovax.metrics.perceptual import load_backbone
from photovax.models.catalog.places import fed_size, setting_digests
from photovax.pictures.masks import kept_by_any
from photovax.pictures.outputs import Destination
from photovax.pictures.photo import read_photo
from photovax.pictures.resize import resized_to
from photovax.pictures.write import write_photo

__all__ = ["Evaluation", "Progress"]


@dataclass(frozen=True)
class Progress:
    """Progress of an evaluation.

    Attributes:
        done: Number of units done.
        total: Number of all units.
        unit: Description of the unit that was just done.
    """

    done: int
    total: int
    unit: str


class Evaluation:
    """An evaluation whose results are in a folder.

    Args:
        plan: The plan.
        out: Folder of the results.
        weights: Folder of weights that do not ship with photovax.
        networks: Files of perturbation networks that do not ship with photovax.
        clip: Folder of a CLIP model; without it there are no CLIP scores.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` …
        callback: Called after every unit.

    Raises:
        UnknownName: If a model, metric or purification is not known.
        ModelError: If weights cannot be loaded.
        UsageError: If the editor does not support one of the plan's ways of editing, no metric of
            edits is available, a plug-in cannot be loaded, or the device is not available.
    """

    def __init__(
        self,
        plan: Plan,
        out: Path,
        *,
        weights: Path | None = None,
        networks: Sequence[Path] = (),
        clip: Path | None = None,
        device: str = "auto",
        callback: Callable[[Progress], None] | None = None,
    ) -> None:
        self.plan, self.out, self.callback = plan, out, callback
        self.size = fed_size(plan.editor, plan.size)
        self.purifiers: dict[str, Purifier] = {
            name: load_purifier(name, device=device, weights=weights) for name in plan.purifications
        }
        self.immunizer = Immunizer(plan.models, weights=weights, networks=networks, device=device)
        self.adversary = Adversary(plan.editor, device=device, weights=weights)
        self.adversary.load(plan.modes)
        digests = self.adversary.digests(plan.modes)
        purified_by = {name: purification_digest(name, p) for name, p in self.purifiers.items()}
        settings = [
            digest for name in plan.models for digest in setting_digests(name, weights=weights)
        ]
        self.units = Units(plan, self.immunizer, digests, self.size, purified_by, settings)
        self.metrics: dict[str, PairMetric]
        self.metrics, missing = load_metrics(plan.metrics, weights=weights)
        self.left_out = {name: error.line for name, error in missing.items()}
        self.between = {name: each for name, each in self.metrics.items() if each.compares_edits}
        if not self.between:
            reasons = "; ".join(map(str, missing.values())) or "none was named"
            hints = [error.hint for error in missing.values() if error.hint]
            raise UsageError(
                f"an evaluation needs at least one metric of edits: {reasons}",
                hint="; ".join(hints) or None,
            )
        self.backbone, failed = load_backbone()
        if failed is not None:
            self.left_out["set distances"] = failed.line
        self.clip: Clip | None = None
        try:
            self.clip = None if clip is None else Clip(clip)
        except MetricUnavailable as error:
            self.left_out["clip"] = error.line
        if clip is None:
            self.left_out["clip"] = "no CLIP model was given; name its folder with --clip FOLDER"
        self.failures: dict[str, str] = {}

    @property
    def device(self) -> str:
        """Name of the device."""
        return str(self.immunizer.device)

    def run(self, photos: Sequence[Path]) -> None:
        """Compute missing results, photo by photo; what fails is added to ``failures``."""
        each = self.plan.per_photo
        for index, path in enumerate(photos):
            try:
                subject = self._subject(path)
                units = self.units.of(subject)
            except PhotovaxError as error:
                self.failures[path.name] = error.line
                continue
            work = chain(self._do(subject, units), self._do_pairs(subject))
            for done, unit in enumerate(work):
                if self.callback is not None:
                    progress = Progress(index * each + done + 1, len(photos) * each, unit)
                    self.callback(progress)

    def results(self, photos: Sequence[Path]) -> Results:
        """Collect all stored results, in the order of the plan, without computing any."""
        results = self._no_results()
        for path in photos:
            if path.name not in self.failures:
                subject = self._subject(path)
                units = self.units.of(subject)
                if self.plan.pairs:
                    known = {(unit.label, unit.key) for unit in units}
                    units += [
                        unit
                        for unit in self.units.chained(subject, self._first(subject))
                        if (unit.label, unit.key) not in known
                    ]
                self._collect(subject, units, results)
        return results

    def _no_results(self) -> Results:
        return Results(
            self.plan,
            cases=[],
            protected=[],
            unchanged={},
            repainted={},
            metric_labels={name: metric.label for name, metric in self.metrics.items()},
            higher_is_closer={n: metric.higher_is_closer for n, metric in self.metrics.items()},
            between=tuple(self.between),
            left_out=dict(self.left_out),
            failures=dict(self.failures),
        )

    def _first(self, subject: Subject) -> dict[str, str]:
        """The cheap purification that leaves the least effect of each recipe on this photo."""
        results = self._no_results()
        self._collect(subject, self.units.of(subject), results)
        least = least_effects(results, results.leading, self.plan.cheap)
        return {label: name for label, each in least.items() for _, name in each.values()}

    def _subject(self, path: Path) -> Subject:
        return Subject.load(path, self.out / "photos")

    def _do_pairs(self, subject: Subject) -> Iterator[str]:
        """Chain the purification that leaves the least effect with each other one."""
        if self.plan.pairs:
            yield from self._do(subject, self.units.chained(subject, self._first(subject)))

    def _purifier(self, name: str) -> Purifier:
        if name in self.purifiers:
            return self.purifiers[name]
        return in_turn([self.purifiers[each] for each in name.split(THEN)])

    def _do(self, subject: Subject, units: list[Unit]) -> Iterator[str]:
        """Compute missing units of a photo, yielding the description of every unit."""
        for purification, group in groupby(units, key=lambda unit: unit.purification):
            purify = partial(self._purifier(purification), seed=subject.seed)
            original = _Original(subject.pixels, purify, partial(self._reference, subject))
            for protection, same in groupby(group, key=lambda unit: unit.protection):
                yield from self._do_same(subject, protection, same, original)

    def _do_same(
        self, subject: Subject, protection: Protection, units: Iterable[Unit], original: _Original
    ) -> Iterator[str]:
        """Compute missing units of one recipe and purification; none if the photo has none."""
        pixels = cache(partial(self._protect, subject, protection))
        purified = cache(lambda: original.purify(pixels()))
        for unit in units:
            name = f"{subject.path.name}, {unit.label}"
            if unit.purification != NONE:
                name += f", {unit.purification}"
            done = self._done(subject, unit)
            try:
                if not done or not self._measured(subject, protection):
                    pixels()  # metrics of the photo alone need no edit
                if not done:
                    purified()
            except Exception as error:  # noqa: BLE001 - recipes and purifiers may be plug-ins
                self.failures[name] = _reason(error)
                return
            try:
                if not done:
                    reference = original.edit(unit)
                    self._compare(subject, unit, original.purified, reference, purified())
            except Exception as error:  # noqa: BLE001 - metrics may be plug-ins, too
                self.failures[f"{name}, {unit.asked.name}"] = _reason(error)
                continue
            yield f"{subject.path.name} {unit.label}, {unit.purification}, {unit.asked.name}"

    def _done(self, subject: Subject, unit: Unit) -> bool:
        found = subject.store.get(unit.key)
        if found is None or not self.between.keys() <= found["between"].keys():
            return False
        return self._judges_as(found)

    def _judges_as(self, line: dict[str, Any]) -> bool:
        """Whether an edit's stored scores are those that the judges of this run would give."""
        clip = self.clip is None or line.get("clip") == self.clip.digest
        return clip and (self.backbone is None or line["features"] is not None)

    def _measured(self, subject: Subject, protection: Protection) -> bool:
        """Whether all metrics of a photo and its original are stored."""
        known = subject.store.get(protection.key)
        return known is not None and self.metrics.keys() <= known["visible"].keys()

    def _protect(self, subject: Subject, protection: Protection) -> np.ndarray:
        """Pixels of the saved photo, which is made if it does not exist."""
        file = subject.store.file(protection.key, ".png")
        known = subject.store.get(protection.key)
        if known is None or not file.exists():
            figures, seen = self._make(subject, protection, file)
        elif self._measured(subject, protection):
            return read_photo(file).visible_rgb()
        else:
            figures, seen = known["figures"], known["visible"]
        pixels, visible = read_photo(file).visible_rgb(), dict(seen)
        for name, metric in self.metrics.items():
            if visible.get(name) is not None:
                continue
            try:
                visible[name] = metric(subject.pixels, pixels)
            except MetricUnavailable as error:  # in the memory that is left now
                self.left_out[f"{subject.path.name}, {name}"] = error.line
                visible.pop(name, None)
        subject.store.add(protection.key, {"figures": figures, "visible": visible})
        return pixels

    def _make(
        self, subject: Subject, protection: Protection, file: Path
    ) -> tuple[dict[str, Any], dict[str, float | None]]:
        """Write the photo; return its figures, and pair metrics that saving measured."""
        photo, began = subject.photo, time.perf_counter()
        mask = subject.mask() if protection.masked else None
        if isinstance(protection.by, Floor):
            spread = photo.opaque  # as recipes, which change nothing that nobody sees
            if mask is not None:
                spread &= kept_by_any(mask, protection.by.masks)
            noise = noise_like(photo.pixels, protection.by, None if spread.all() else spread)
            write_photo(photo.with_pixels(noise), Destination(file, overwrite=True))
            found = visibility(photo.visible(), read_photo(file).visible())
            seconds = time.perf_counter() - began
            return {"linf": found.linf, "l2": found.l2, "seconds": seconds}, {}
        result = self.immunizer.immunize(photo, protection.by, mask=mask)
        if result.stopped == "interrupted":
            raise KeyboardInterrupt
        saved = self.immunizer.save(result, file, overwrite=True)
        figures = {
            "linf": saved.visible.linf,
            "l2": saved.visible.l2,
            "shift": float(np.mean([effect.shift for effect in saved.effects.values()])),
            "passes": result.passes,
            "seconds": result.seconds,
        }
        return figures, {**saved.seen.by_metric}

    def _reference(self, subject: Subject, unit: Unit, clean: np.ndarray) -> np.ndarray:
        """The edit of the purified original, which is made if it does not exist."""
        file = subject.store.file(unit.reference, ".png")
        known = subject.store.get(unit.reference)
        if known is not None and file.exists():
            made = read_photo(file).visible_rgb()
            if self._judges_as(known):
                return made
        else:
            made = self._edit(subject, unit, clean)
            Image.fromarray(made).save(file)
        alike = visibility(np.asarray(resized_to(clean, *made.shape[:2])), made).ssim
        figures = self._judged(subject, unit.asked, clean, made, known)
        subject.store.add(unit.reference, {**figures, "alike": 1.0 if alike is None else alike})
        return made

    def _compare(
        self,
        subject: Subject,
        unit: Unit,
        clean: np.ndarray,
        reference: np.ndarray,
        purified: np.ndarray,
    ) -> None:
        """Edit the purified photo, and store how the edit differs from that of the original."""
        began = time.perf_counter()
        made = self._edit(subject, unit, purified)
        seconds = time.perf_counter() - began
        if unit.seed == 0 and unit.purification == NONE:
            Image.fromarray(made).save(subject.store.file(unit.key, ".webp"), quality=90)
        known = subject.store.get(unit.key)
        between = {} if known is None else dict(known["between"])
        between |= {name: metric(reference, made) for name, metric in self.between.items()}
        figures = self._judged(subject, unit.asked, clean, made, known)
        subject.store.add(unit.key, {"between": between, **figures, "seconds": seconds})

    def _edit(self, subject: Subject, unit: Unit, pixels: np.ndarray) -> np.ndarray:
        repaint = subject.repaint(unit.asked)
        return self.adversary.edit(
            pixels, unit.edit, seed=unit.seed, repaint=repaint, size=self.size
        )

    def _judged(
        self,
        subject: Subject,
        asked: Asked,
        clean: np.ndarray,
        made: np.ndarray,
        known: dict[str, Any] | None,
    ) -> dict[str, Any]:
        """Scores of how well an edit follows the request, and its features.

        What this run does not judge by is as it was stored before, in ``known``.
        """
        fed = np.asarray(resized_to(clean, *made.shape[:2]))
        repaint = subject.repaint(asked)
        if repaint is not None:
            size = (fed.shape[1], fed.shape[0])
            shown = Image.fromarray(repaint).resize(size, Image.Resampling.NEAREST)
            repaint = np.asarray(shown)
        features = None
        if self.backbone is not None:
            features = array_text(self.backbone.features([made])[0])
        edit = asked.of(subject.digest)
        follows = following(edit, fed, made, repaint, self.clip)
        by = None if self.clip is None else self.clip.digest
        if known is not None:
            features = features or known["features"]
            if by is None:
                by = known.get("clip")
                follows = {**known["follows"], **follows}
        return {"follows": follows, "clip": by, "features": features}

    def _follows(self, line: dict[str, Any]) -> dict[str, float]:
        """Stored scores of an edit, without those of a CLIP model that this run does not use."""
        if self.clip is not None and self._judges_as(line):
            return dict(line["follows"])
        return {name: score for name, score in line["follows"].items() if name not in CLIP_SCORES}

    def _collect(self, subject: Subject, units: Sequence[Unit], results: Results) -> None:
        """Add the stored results of units of one photo."""
        for name in self.units.without_mask(subject):
            results.left_out[f"{subject.path.name}, {name}"] = (
                f"there is no mask {mask_of(subject.path).name} next to the photo"
            )
        protected: dict[tuple[str, str], ProtectedPhoto] = {}
        for unit in units:
            reference, found = subject.store.get(unit.reference), subject.store.get(unit.key)
            if reference is None or found is None:
                continue
            results.cases.append(self._case(subject, unit, reference, found))
            place = (unit.label, unit.protection.key)
            photo = protected.get(place) or _protected(subject, unit)
            modes = dict.fromkeys((*photo.modes, unit.asked.edit.mode))
            protected[place] = replace(photo, modes=tuple(modes))
        results.protected.extend(protected.values())
        for asked in self.plan.edits:
            repaint = subject.repaint(asked)
            if repaint is not None:
                results.repainted[f"{subject.path.name}, {asked.name}"] = float(repaint.mean())
            for seed in range(self.plan.seeds):
                line = subject.store.get(self.units.reference(subject, asked, seed, NONE))
                if line is not None:
                    results.unchanged.setdefault(asked.name, []).append(line["alike"])

    def _case(
        self, subject: Subject, unit: Unit, reference: dict[str, Any], found: dict[str, Any]
    ) -> Case:
        picture = subject.store.file(unit.key, ".webp")
        features, clean = (
            None if line["features"] is None else text_array(line["features"])
            for line in (found, reference)
        )
        return Case(
            photo=subject.path.name,
            label=unit.label,
            purification=unit.purification,
            asked=unit.asked,
            prompt=unit.edit.prompt,
            seed=unit.seed,
            key=unit.key,
            floor=unit.floor,
            between={name: found["between"].get(name) for name in self.between},
            follows=self._follows(found),
            wanted=self._follows(reference),
            features=features,
            clean_features=clean,
            picture=picture if picture.exists() else None,
            clean_picture=subject.store.file(unit.reference, ".png"),
        )


class _Original:
    """The original after one purification, and its edits; each is made when first asked for."""

    def __init__(
        self,
        pixels: np.ndarray,
        purify: Callable[[np.ndarray], np.ndarray],
        make: Callable[[Unit, np.ndarray], np.ndarray],
    ) -> None:
        self.purify = purify
        self._pixels, self._make = pixels, make
        self._edits: dict[str, np.ndarray] = {}

    @cached_property
    def purified(self) -> np.ndarray:
        return self.purify(self._pixels)

    def edit(self, unit: Unit) -> np.ndarray:
        """The edit that a unit's is compared with."""
        if unit.reference not in self._edits:
            self._edits[unit.reference] = self._make(unit, self.purified)
        return self._edits[unit.reference]


def _reason(error: Exception) -> str:
    return error.line if isinstance(error, PhotovaxError) else first_line(error)


def _protected(subject: Subject, unit: Unit) -> ProtectedPhoto:
    line = subject.store.get(unit.protection.key) or {"figures": {}, "visible": {}}
    return ProtectedPhoto(
        photo=subject.path.name,
        label=unit.label,
        modes=(),
        file=subject.store.file(unit.protection.key, ".png"),
        original=subject.path,
        levels=unit.protection.levels,
        figures=line["figures"],
        visible=line["visible"],
    )
