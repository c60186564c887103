"""Evaluation: events and models -> how good the suggestions would have been, beside simpler methods.

    split -> Recommender and baselines -> metrics -> Evaluation -> table and HTML report

Nothing here decides: `rebuild` compares two builds by what is measured here.
"""
