"""3. Vectors become neighbours: exact or FAISS behind one protocol, and the item-aligned `Space`."""
