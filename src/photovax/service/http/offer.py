"""What clients may ask of one service: recipes, levels, visibilities."""

from __future__ import annotations

from pathlib import Path

from photovax.attack.budgets import VISIBILITY
from photovax.attack.presets import load_recipe
from photovax.attack.recipe import Recipe
from photovax.certificates.document import total_of
from photovax.errors import UsageError
from photovax.evaluation.plan import load_edits
from photovax.models.catalog.entries import DEFAULT_MODEL
from photovax.service.http.problems import Problem
from photovax.service.settings import Settings

__all__ = ["Offer"]

_STRONG = 16.0  # levels of 255, the largest in published experiments


class Offer:
    """The recipes of one service and the strengths that clients may choose.

    Attributes:
        recipes: Recipes by the names that clients use; the first is the default.
        usual: The default recipe at its default strength.
        most: Largest change that clients may ask for, in levels of 255.
        requests: Instructions that the editor which edits results was trained on.

    Args:
        settings: The service's.

    Raises:
        UsageError: If a recipe changes photos by more than the total, or does not fit the strength
            in the settings.
    """

    def __init__(self, settings: Settings) -> None:
        self._files = {Path(name).stem: name for name in (settings.recipe, *settings.recipes)}
        self.recipes = {name: load_recipe(file) for name, file in self._files.items()}
        self._first = next(iter(self.recipes))
        self.usual = settings.strength(self.recipes[self._first])
        if settings.visibility is not None:
            self.usual = self.usual.with_visibility(settings.visibility)  # or it is refused
        for name, recipe in self.recipes.items():
            at_once, total = total_of(settings.strength(recipe)), settings.total_for(recipe)
            if total is not None and total < at_once:
                raise UsageError(
                    f"a total of {total:g} is less than the {at_once:g} that the recipe {name} "
                    "changes photos by"
                )
        # A budget of what is seen has a wide bound on levels, which alone would be seen much more.
        own = 0 if self.usual.constraint.bounds_seen else self.usual.levels or 0
        self.most = max(own, _STRONG)
        if settings.total is not None and self.usual.levels is not None:
            self.most = settings.total
        self._levels_set = settings.levels is not None
        known = load_edits(None, DEFAULT_MODEL)
        self.requests = [
            prompt for asked in known if asked.edit.mode == "instruct" for prompt in asked.prompts
        ]

    @property
    def most_levels(self) -> float | None:
        """Largest change in levels for the default recipe; None if it takes no levels."""
        return self.most if _takes_levels(self.recipes[self._first]) else None

    @property
    def visibilities(self) -> list[str]:
        """Visibilities for the default recipe; none if it does not bound visibility."""
        return list(VISIBILITY) if self._by_sight(self.recipes[self._first]) else []

    def file(self, recipe: str | None) -> str | None:
        """Return the preset or file of a recipe by its name; None stands for the default.

        Raises:
            Problem: If there is no such recipe.
        """
        return None if recipe is None else self._files[self._known(recipe)]

    def check(
        self, recipe: str | None, *, visibility: str | None = None, levels: float | None = None
    ) -> None:
        """Check the strength that a client asks for.

        Raises:
            Problem: If the recipe is unknown or bounds another quantity, or this is too much.
        """
        chosen = self.recipes[self._first if recipe is None else self._known(recipe)]
        if visibility is not None and levels is not None:
            raise Problem(422, "wrong-request", "send visibility or levels, not both")
        if visibility is not None and not self._by_sight(chosen):
            raise Problem(
                422,
                "wrong-request",
                "this recipe does not bound the visibility of the change here: leave "
                "visibility out",
            )
        if levels is not None and not _takes_levels(chosen):
            raise Problem(
                422,
                "wrong-request",
                "this recipe has no largest change in levels: leave levels out",
            )
        if levels is not None and levels > self.most:
            raise Problem(
                422, "wrong-request", f"levels may be {self.most:g} at most, got {levels:g}"
            )

    def _known(self, recipe: str) -> str:
        if recipe not in self.recipes:
            known = ", ".join(self.recipes)
            raise Problem(422, "no-such-recipe", f"the recipe is unknown; this service has {known}")
        return recipe

    def _by_sight(self, recipe: Recipe) -> bool:
        return recipe.constraint.bounds_seen and not self._levels_set


def _takes_levels(recipe: Recipe) -> bool:
    return recipe.levels is not None and recipe.takes_levels
