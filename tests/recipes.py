"""Recipes, cut short for tests."""

from dataclasses import replace

from photovax.attack.recipe import Recipe


def each_view_once(recipe: Recipe) -> Recipe:
    """The recipe with those of its views that are alike only once."""
    views = recipe.views
    return replace(recipe, views=tuple(v for i, v in enumerate(views) if v not in views[:i]))
