"""The sample photo that ships with photovax."""

from pathlib import Path

__all__ = ["SAMPLE"]

SAMPLE = Path(__file__).parents[1] / "data" / "sample.jpg"
