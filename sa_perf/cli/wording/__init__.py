"""Words and figures that stand the same at a terminal and in HTML.

`units` writes numbers, `plain_text` makes statements harmless and short, `query_facts` and
`summary_lines` say in words what a snapshot holds.
"""
