"""Settings of the documentation site, which Sphinx builds from the pages in this folder.

``make docs`` builds it with warnings as errors. MyST checks every link to a page, a heading or a
file of the repository.
"""

from photovax.version import VERSION

project = "photovax"
author = "The photovax developers"
release = version = VERSION
html_title = f"photovax {VERSION}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_copy_source = False
exclude_patterns = ["_build"]

# Headings get the anchors that GitHub gives them, since the pages are read there as well.
myst_heading_anchors = 4
highlight_language = "none"  # indented blocks hold commands, and a few hold TOML

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = True
napoleon_numpy_docstring = False

linkcheck_timeout = 20
linkcheck_retries = 2
# Examples of addresses that exist only on the reader's machine, or for nobody.
linkcheck_ignore = [r"http://127\.0\.0\.1", r"https?://[^/]*example\.org"]
