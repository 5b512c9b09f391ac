"""Where things lie that tests read."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The repository."""

SHARED = Path(os.environ.get("PHOTOVAX_SHARED", ROOT.parent / "shared"))
"""Photos and third-party weights, of which tests that need them are skipped where they are not."""
