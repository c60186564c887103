"""Published figures of known datasets, to be printed beside ours; nothing is computed from them.

They are the ones listed in the README that comes with the data.
"""

from typing import NamedTuple


class Published(NamedTuple):
    """One line of a paper's or a benchmark's table."""

    model: str
    figures: dict[str, float]
    """Metric -> value, under the names that the benchmark prints."""
    recalled: bool = False
    """Not looked up in its source again."""


FIGURES: dict[str, list[Published]] = {
    "amazon-beauty": [
        Published("SASRec", {"hr@10": 0.0605, "ndcg@10": 0.0318}),
        Published("TIGER", {"hr@10": 0.0648, "ndcg@10": 0.0384}),
        Published("MCLRec", {"hr@10": 0.0871, "ndcg@10": 0.0446}, recalled=True),
        Published("SASRec, sampled softmax", {"hr@10": 0.0921, "ndcg@10": 0.0531}),
        Published("eSASRec", {"hr@10": 0.0928, "ndcg@10": 0.0523}),
    ],
    "gowalla": [
        Published("MF-BPR", {"recall@20": 0.1627, "ndcg@20": 0.1378}, recalled=True),
        Published("EASE", {"recall@20": 0.1765, "ndcg@20": 0.1467}),
        Published("LightGCN", {"recall@20": 0.1830, "ndcg@20": 0.1554}, recalled=True),
        Published("GF-CF", {"recall@20": 0.1849, "ndcg@20": 0.1518}),
        Published("UltraGCN", {"recall@20": 0.1862, "ndcg@20": 0.1580}),
        Published("SimpleX", {"recall@20": 0.1872, "ndcg@20": 0.1557}),
    ],
    "amazon-book": [
        Published("EASE", {"recall@20": 0.1692, "ndcg@20": 0.1192}, recalled=True),
    ],
}
"""Name of the data's folder -> what was published on it, weakest first."""
