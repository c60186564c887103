"""Stage 1: what exists and what happened. The only place with SQL.

    files ──> importing ──> Item, Event ──> database ──> ItemTable, EventLog ──> the later stages
    HTTP ────────────────────────┘

Read in this order: tables, database; items, item_table; events, event_log; then, for files, importing
with feeds (rows), columns and values (mapping), rows (items and events), images and rejects.
"""
