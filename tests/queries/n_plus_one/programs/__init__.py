"""All programs of the corpus; those for asyncio where there is greenlet."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil

from n_plus_one.corpus import PROGRAMS

__all__ = ["PROGRAMS"]

for _module in pkgutil.iter_modules(__path__):
    if _module.name != "asynchronous" or importlib.util.find_spec("greenlet"):
        importlib.import_module(f"{__name__}.{_module.name}")
