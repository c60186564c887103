"""Sparse matrices to try things on."""

import numpy as np
from hypothesis import strategies as st
from scipy.sparse import csr_array

drawn = st.tuples(
    st.integers(1, 12),
    st.integers(1, 12),
    st.floats(0, 1),
    st.integers(0, 1000),
    st.integers(1, 14),
)
"""Rows, columns, share of entries, seed; and a number of entries per row to keep."""


def random(rows, columns, share, seed):
    """One with normally distributed entries."""
    rng = np.random.default_rng(seed)
    dense = rng.normal(size=(rows, columns)) * (rng.random((rows, columns)) < share)
    return csr_array(dense.astype(np.float32))
