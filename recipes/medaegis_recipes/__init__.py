"""Recipes: one small file a table or figure of the papers. They import medaegis, never the reverse."""
