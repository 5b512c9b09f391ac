"""The version, from the installed package's metadata."""

from importlib.metadata import version

VERSION = version("photovax")
