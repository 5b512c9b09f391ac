"""The sample photo that ships with photovax."""

from pathlib import Path

__all__ = ["SAMPLE", "SAMPLE_MASK"]

SAMPLE = Path(__file__).parents[1] / "data" / "sample.jpg"
SAMPLE_MASK = SAMPLE.with_suffix(".mask.png")
