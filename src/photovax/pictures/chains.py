"""What messengers, platforms and screens do to a photo, by name, as steps with options.

The steps are names, so that rooms which know nothing of each other can do the same: a recipe sees
the photo through them with a gradient (``photovax.models.views``), an adversary gets the file that
they leave (``photovax.adversary.purify``).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from photovax.registry import Part, unknown

__all__ = ["CHAINS", "NamedChain", "chain_named"]

_FILE = Path(__file__).parent.parent / "data" / "chains.toml"


@dataclass(frozen=True)
class NamedChain:
    """What happens to a photo on one way.

    Attributes:
        label: The way in words, such as ``Telegram``.
        steps: Names of views and purifiers and their options, in order.
        basis: ``code`` if all figures are those of a program's own source text; ``reported`` if
            people measured or wrote some of them.
        sources: Addresses of the sources of the figures.
    """

    label: str
    steps: tuple[Part, ...]
    basis: str
    sources: tuple[str, ...]


class _Chains(Mapping[str, NamedChain]):
    """The chains of ``data/chains.toml``, which is read when one is first used."""

    @cached_property
    def _tables(self) -> dict[str, Any]:
        return tomllib.loads(_FILE.read_text(encoding="utf-8"))

    def __getitem__(self, name: str) -> NamedChain:
        table = self._tables[name]
        before = [self[each] for each in table.get("after", ())]
        own = tuple(Part(each["name"], each["options"]) for each in table.get("steps", ()))
        labels = [each.label for each in before] + ([table["label"]] if "label" in table else [])
        sources = [source for each in before for source in each.sources]
        return NamedChain(
            label=", then ".join(labels),
            steps=tuple(step for each in before for step in each.steps) + own,
            basis=table["basis"],
            sources=tuple(dict.fromkeys([*sources, *table.get("sources", ())])),
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)


CHAINS: Mapping[str, NamedChain] = _Chains()
"""Chains by name."""


def chain_named(name: str) -> NamedChain:
    """The chain of a name.

    Raises:
        UnknownName: If there is none.
    """
    if name not in CHAINS:
        raise unknown("chain", name, CHAINS)
    return CHAINS[name]
