"""What clients may ask one service for: its recipes, and how strong."""

from __future__ import annotations

from pathlib import Path

from photovax.attack.budgets import VISIBILITY
from photovax.attack.presets import load_recipe
from photovax.attack.recipe import Recipe
from photovax.certificates.document import total_of
from photovax.errors import UsageError
from photovax.service.http.problems import Problem
from photovax.service.settings import Settings

__all__ = ["Offer"]

_STRONG = 16.0  # levels of 255: what the field's experiments go to


class Offer:
    """The recipes of one service.

    Attributes:
        recipes: Every recipe by the name that clients say; the first is the usual one.
        usual: The usual one, as strong as is usual.
        most: The most levels of 255 that may be asked for.

    Args:
        settings: The service's.

    Raises:
        UsageError: If photos would be changed by more than in total, or in another way than the
            settings bound.
    """

    def __init__(self, settings: Settings) -> None:
        self._files = {Path(name).stem: name for name in (settings.recipe, *settings.recipes)}
        self.recipes = {name: load_recipe(file) for name, file in self._files.items()}
        self._first = next(iter(self.recipes))
        self.usual = settings.strength(self.recipes[self._first])
        if settings.visibility is not None:
            self.usual = self.usual.with_visibility(settings.visibility)  # it must be one of those
        for name, recipe in self.recipes.items():
            at_once, total = total_of(settings.strength(recipe)), settings.total_for(recipe)
            if total is not None and total < at_once:
                raise UsageError(
                    f"a total of {total:g} is less than the {at_once:g} that the recipe {name} "
                    "changes photos by"
                )
        self.most = max(self.usual.levels or 0, _STRONG)
        if settings.total is not None and self.usual.levels is not None:
            self.most = settings.total
        self._levels_set = settings.levels is not None

    @property
    def most_levels(self) -> float | None:
        """The most levels that may be asked for of the usual recipe; None where none may be."""
        return None if self.recipes[self._first].levels is None else self.most

    @property
    def visibilities(self) -> list[str]:
        """Words that may be asked for of the usual recipe; none where that is not bounded."""
        return list(VISIBILITY) if self._by_sight(self.recipes[self._first]) else []

    def file(self, recipe: str | None) -> str | None:
        """The preset or file of a recipe by its name; None for the usual one.

        Raises:
            Problem: If there is no such recipe.
        """
        return None if recipe is None else self._files[self._known(recipe)]

    def check(
        self, recipe: str | None, *, visibility: str | None = None, levels: float | None = None
    ) -> None:
        """Refuse what a recipe cannot be asked for here.

        Raises:
            Problem: If there is no such recipe, or it bounds something else, or it is too much.
        """
        chosen = self.recipes[self._first if recipe is None else self._known(recipe)]
        if visibility is not None and levels is not None:
            raise Problem(422, "wrong-request", "send visibility or levels, not both")
        if visibility is not None and not self._by_sight(chosen):
            raise Problem(
                422,
                "wrong-request",
                "what is seen of the change is not bounded by this recipe here: leave visibility "
                "out",
            )
        if levels is not None and chosen.levels is None:
            raise Problem(422, "wrong-request", "this recipe has no largest change: leave it out")
        if levels is not None and levels > self.most:
            raise Problem(
                422, "wrong-request", f"this service changes photos by {self.most:g} at most"
            )

    def _known(self, recipe: str) -> str:
        if recipe not in self.recipes:
            known = ", ".join(self.recipes)
            raise Problem(422, "no-such-recipe", f"this service has these recipes: {known}")
        return recipe

    def _by_sight(self, recipe: Recipe) -> bool:
        return recipe.constraint.bounds_seen and not self._levels_set
