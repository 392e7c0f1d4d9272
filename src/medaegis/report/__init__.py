"""One self-contained page from a finished run, and one over several: they draw what is stored, recompute nothing."""

from medaegis.report._index import is_run, render_index
from medaegis.report._keep import keep_run
from medaegis.report._page import render_report
from medaegis.report._pictures import png_bytes
from medaegis.report._text import text_table

__all__ = ["is_run", "keep_run", "png_bytes", "render_index", "render_report", "text_table"]
