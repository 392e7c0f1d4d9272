"""One self-contained page from a finished run: it draws what is stored and recomputes nothing."""

from medaegis.report._page import render_report
from medaegis.report._pictures import png_bytes
from medaegis.report._text import text_table

__all__ = ["png_bytes", "render_report", "text_table"]
