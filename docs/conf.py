"""The site of README and docs: `make docs`. Pages lie as in the repository, so that links work there and here."""

project = "cascade"
extensions = ["myst_parser"]
myst_heading_anchors = 4  # as GitHub has them
html_theme = "furo"
html_title = "cascade"
html_show_copyright = False
html_show_sourcelink = False
