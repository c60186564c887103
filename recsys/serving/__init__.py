"""Slates become answers: the HTTP API over one published snapshot and the live catalogue.

    HTTP ──> schemas ──> slates: Query ──> Recommender ──> Slate ──> JSON
                           │  live: the snapshot in use, what was withdrawn since
                           └─ words: a search in the snapshot's text space

Read in this order: schemas, slates, live, words, routes, intake, operations, app.
"""
