"""Models that are attacked; the only room that handles [-1, 1] and scaling factors."""
