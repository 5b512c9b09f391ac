"""A quick plan, and results that are made up."""

from dataclasses import replace
from pathlib import Path

from photovax.attack.recipe import Recipe
from photovax.evaluation.plan import Asked, Plan, Variant
from photovax.evaluation.results import Case, Results
from photovax.models.edit import Edit
from photovax.registry import Part

QUICK = Recipe(
    objective=Part("latent_drift"),
    budget=Part("linf", {"radius": 16 / 255}),
    views=(Part("short_side"),),
    steps=6,
    step_size=6 / 255,
    schedule="cosine",
    size=64,
)
SEPIA = Asked("sepia", Edit("instruct", steps=2, guidance=1), ("paint it in sepia",))
PLAN = Plan(
    variants=(Variant("quick 16/255", QUICK),),
    edits=(SEPIA,),
    purifications=("none", "jpeg75"),
    seeds=2,
    size=64,
)


def case(label: str, photo: int, ssim: float, follows: float, purification: str = "none") -> Case:
    """A made-up edit; the floor of a recipe's is called as noise's is."""
    name = f"{photo}-{purification}"
    return Case(
        photo=f"{photo}.png",
        label=label,
        purification=purification,
        asked=SEPIA,
        prompt="paint it in sepia",
        seed=0,
        key=f"{label}-{name}",
        floor=None if label == "noise" else f"noise-{name}",
        between={"ssim": ssim},
        follows={"true_edit": follows},
        wanted={"true_edit": 20.0},
        features=None,
        clean_features=None,
        picture=None,
        clean_picture=Path("none.png"),
    )


def made_up(cases: list[Case], **changes) -> Results:
    results = Results(
        plan=replace(PLAN, purifications=tuple(dict.fromkeys(c.purification for c in cases))),
        cases=cases,
        protected=[],
        unchanged={},
        repainted={},
        metric_labels={"ssim": "SSIM"},
        higher_is_closer={"ssim": True},
        between=("ssim",),
        left_out={},
        failures={},
    )
    return replace(results, **changes)
