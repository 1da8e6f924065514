"""Which detector is better, by how much, and can that be told? From the folders that runs and surveys leave.

A run writes `contributions`; `reading` turns folders into records, `compare` records into a comparison, `writing` that
into a page, tables and figures. Importing this package imports nothing: a run needs no statistics.
"""
