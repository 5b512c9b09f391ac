"""The other side: editing photos as an adversary would. Imports nothing of the defender."""
