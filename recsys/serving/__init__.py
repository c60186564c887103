"""Slates become answers: the HTTP API over one published snapshot and the live catalogue.

    HTTP ──> schemas ──> slates: Query ──> Recommender ──> Slate ──> JSON
                           │  live: the snapshot in use, what was withdrawn since
                           └─ searching: what is sought, as vectors in the snapshot's spaces

Read in this order: schemas, slates, live, searching, uploads, routes, intake, operations, app.
"""
