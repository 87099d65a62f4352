"""A Select's ORDER BY as a total order of its rows. Pure."""
