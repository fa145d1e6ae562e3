"""One table of runs as a web page, Markdown, LaTeX or a sheet."""
