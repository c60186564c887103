"""2. Items become vectors: text and pictures in, unit rows out.

contents -> Encoder -> VectorStore (on disk, by content) -> VectorTable
rows of a table, or groups of its items -> Projection
"""
