"""recsys: documents in, good recommendations out."""
