"""A query -> a slate: sources find, filters refuse, the blend judges, diversity keeps twins apart.

Read candidates.py for the words, then recommender.py for the whole.
"""
