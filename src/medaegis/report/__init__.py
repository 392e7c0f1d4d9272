"""One self-contained page from a finished run: it draws what is stored and recomputes nothing."""

from medaegis.report._page import render_report

__all__ = ["render_report"]
