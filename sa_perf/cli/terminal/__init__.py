"""What the commands show a person at a terminal, drawn with rich.

`tables` has the parts. `summary` is the page of ``sa-perf report``, `explained` that of ``sa-perf
explain``, `demonstration` that of ``sa-perf demo``. `console` sees to it that no text can act on
the terminal.
"""
