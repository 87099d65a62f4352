"""Cursors: the values at a page's border as signed tokens."""
