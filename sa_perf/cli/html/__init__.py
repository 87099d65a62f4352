"""The report as one HTML page; `html_page` makes it.

`page` puts it together of `sections`, `charts` and `queries`; `text` escapes whatever came from the
application. Style, script and template lie in ``sa_perf/web/report``.
"""
