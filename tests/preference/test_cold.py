"""New items borrow the behaviour of the items whose content is nearest."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from recsys.config import PreferenceSettings
from recsys.preference.cold import ContentPrior, fit_shares, lend, lend_to, with_new_shares
from recsys.preference.sparse import score

SETTINGS = PreferenceSettings(lend_until=5.0, lend_neighbours=2)
ABSENT, FAR = -1, -np.inf

# Items 0-2 are liked by one group, 3-5 by another. 6 is new and a twin of 2; 7 is new, with no content.
W = np.zeros((8, 8), dtype=np.float32)
W[:3, :3] = 1.0
W[3:6, 3:6] = 1.0
np.fill_diagonal(W, 0)
SUPPORT = np.array([20, 20, 20, 20, 20, 20, 0, 0], dtype=np.float32)


def prior(near, similarity):
    neighbours = np.full((8, 2), ABSENT, dtype=np.int32)
    closeness = np.full((8, 2), FAR, dtype=np.float32)
    for item, row in near.items():
        neighbours[item, : len(row)] = row
        closeness[item, : len(row)] = similarity[item]
    return ContentPrior(None, neighbours, closeness)


TWIN = prior({6: [2], 2: [6]}, {6: [0.9], 2: [0.9]})


def even(priors, n=8):
    return np.full((n, len(priors)), 1 / len(priors), dtype=np.float32)


def lent(*priors, support=SUPPORT, settings=SETTINGS, growth=0.0, shares=None):
    """Without growth, popularity is not in the weights, and nothing needs to be taken back."""
    shares = even(priors) if shares is None else shares
    return lend(csr_array(W), support, priors, shares, settings, growth)


def liking(matrix, item):
    return score(matrix, np.array([item]), np.ones(1, np.float32))


def test_a_new_item_is_recommended_where_its_twin_is():
    got = lent(TWIN)
    assert liking(got, 0)[6] == pytest.approx(liking(got, 0)[2])
    assert liking(got, 0)[6] > 0
    assert liking(got, 3)[6] == 0


def test_somebody_who_liked_a_new_item_is_served_what_its_twin_leads_to():
    got = liking(lent(TWIN), 6)
    assert got[0] == pytest.approx(1)
    assert got[1] == pytest.approx(1)
    assert not got[3:6].any()


def test_own_behaviour_takes_over_as_it_grows():
    closest = prior({1: [4]}, {1: [0.9]})
    for likes, own in [(5, 0.5), (15, 0.75), (495, 0.99)]:
        support = SUPPORT.copy()
        support[1] = likes
        got = lent(closest, support=support)
        assert liking(got, 0)[1] == pytest.approx(own)  # what it gathered itself
        assert liking(got, 3)[1] == pytest.approx(1 - own)  # what the other group's item lends
    assert liking(got, 0)[2] == pytest.approx(1)


def test_a_nearer_neighbour_lends_more_by_the_fourth_power():
    got = lent(prior({6: [0, 3]}, {6: [0.8, 0.4]}))
    to_first, to_second = liking(got, 1)[6], liking(got, 4)[6]
    assert to_first / to_second == pytest.approx(16)
    assert to_first + to_second == pytest.approx(1)


def test_a_neighbour_with_little_behaviour_lends_little():
    support = SUPPORT.copy()
    support[0] = 5 / 3  # trusted by a quarter; item 3, with 20 likes, by four fifths
    got = lent(prior({6: [0, 3]}, {6: [0.8, 0.8]}), support=support)
    assert liking(got, 4)[6] / liking(got, 1)[6] == pytest.approx((20 / 25) / (1 / 4))


def test_a_new_item_does_not_inherit_how_popular_its_twin_is():
    got = lent(TWIN, growth=1.0)
    assert liking(got, 0)[6] == pytest.approx((0 + 5) / (20 + 5) * liking(got, 0)[2])
    assert liking(got, 6)[0] == pytest.approx(1)  # where it leads to is a matter of taste alone


def test_new_items_do_not_lend_to_one_another():
    got = lent(prior({6: [7]}, {6: [0.9]}))
    assert got.toarray() == pytest.approx(W)


def test_each_kind_of_content_lends_by_its_share():
    text, image = TWIN, prior({6: [4]}, {6: [0.9]})
    got = lent(text, image, shares=np.tile(np.float32([0.75, 0.25]), (8, 1)))
    assert liking(got, 0)[6] == pytest.approx(0.75)
    assert liking(got, 3)[6] == pytest.approx(0.25)


def test_a_kind_without_a_share_serves_only_where_the_first_has_no_lender():
    text, image = TWIN, prior({6: [4], 7: [4]}, {6: [1.0], 7: [1.0]})
    got = lent(text, image, shares=np.tile(np.float32([1, 0]), (8, 1)))
    assert liking(got, 3)[6] == pytest.approx(0, abs=1e-5)
    assert liking(got, 3)[7] == pytest.approx(1)


def two_worlds(n=240, likeness=0.9):
    """Items of one category go with those that read alike, items of the other with those that look alike.

    Blocks of twelve items lead to one another. Each item's neighbours by the kind that tells are of its own block,
    by the other kind of another one.
    """
    rng = np.random.default_rng(0)
    block = np.arange(n) // 12
    matrix = (block[:, None] == block[None, :]).astype(np.float32)
    np.fill_diagonal(matrix, 0)
    reads = np.arange(n) < n // 2

    def neighbours(telling):
        near = np.empty((n, 4), dtype=np.int32)
        for item in range(n):
            same = (block == block[item]) == telling[item]
            near[item] = rng.choice(np.flatnonzero(same & (np.arange(n) != item)), 4, replace=False)
        return ContentPrior(None, near, np.full((n, 4), likeness, dtype=np.float32))

    categories = csr_array(np.stack([reads, ~reads], axis=1).astype(np.float32))
    return csr_array(matrix), [neighbours(reads), neighbours(~reads)], categories, reads


def test_what_tells_where_items_lead_to_is_found_for_each_category():
    matrix, priors, categories, reads = two_worlds()
    support = np.full(len(reads), 20, dtype=np.float32)
    shares = fit_shares(matrix, support, priors, categories, SETTINGS)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    assert shares[reads, 0].min() > 0.8
    assert shares[~reads, 1].min() > 0.8
    nothing = csr_array((len(reads), 1), dtype=np.float32)
    overall = fit_shares(matrix, support, priors, nothing, SETTINGS)
    np.testing.assert_allclose(overall, 0.5, atol=0.1)


def test_a_category_of_few_items_hardly_differs_from_all():
    matrix, priors, categories, reads = two_worlds()
    support = np.where(reads, 20, 0).astype(np.float32)
    support[-3:] = 20
    shares = fit_shares(matrix, support, priors, categories, SETTINGS)
    assert shares[~reads, 0].min() > 0.6, "three items say less than all that read alike"


def test_where_nobody_is_known_each_kind_has_the_same_share():
    matrix, priors, categories, reads = two_worlds()
    shares = fit_shares(matrix, np.zeros(len(reads)), priors, categories, SETTINGS)
    np.testing.assert_allclose(shares, 0.5)


def test_an_item_that_comes_later_has_the_shares_of_its_neighbours():
    """6 and 7 are new; 6 is a twin of 2, and 7 has no content."""
    shares = np.tile(np.float32([0.2, 0.8]), (6, 1))
    shares[2] = [0.9, 0.1]
    got = with_new_shares(shares, SUPPORT, [TWIN, prior({}, {})], SETTINGS)
    np.testing.assert_array_equal(got[:6], shares)
    np.testing.assert_allclose(got[6], shares[2], rtol=1e-5)
    np.testing.assert_allclose(got[7], shares.mean(axis=0), rtol=1e-5)


def test_no_more_weights_are_kept_than_set_and_none_leads_to_itself():
    got = lent(TWIN, settings=SETTINGS.model_copy(update={"cooccurrence_neighbours": 1}))
    assert (np.diff(got.indptr) <= 1).all()
    between_lenders = prior(
        {6: [0, 1]}, {6: [0.9, 0.9]}
    )  # 0 leads to 1: by way of both, 6 leads to 6
    assert not lent(between_lenders).diagonal().any()


@pytest.mark.parametrize("growth", [0.0, 1.3])
def test_items_that_come_later_are_lent_what_those_known_from_the_start_are(growth):
    """Exactly so where the lenders are well known: what is lent to them is next to nothing."""
    support = np.where(SUPPORT > 0, 1e6, 0).astype(np.float32)
    settings = SETTINGS.model_copy(update={"lend_until": 1e-3})
    whole = lend(csr_array(W), support, [TWIN], even([TWIN]), settings, growth)
    without_it = lend(csr_array(W), support, [prior({}, {})], even([TWIN]), settings, growth)
    later = lend_to(
        without_it, np.array([6, 7]), support, [TWIN], even([TWIN]), settings, growth, 200
    )
    np.testing.assert_allclose(later.toarray(), whole.toarray(), rtol=1e-5, atol=1e-12)


def test_lending_anew_forgets_what_was_lent_before():
    lent_once = lent(TWIN)
    other = prior({6: [4], 4: [6]}, {6: [0.9], 4: [0.9]})
    got = lend_to(lent_once, np.array([6]), SUPPORT, [other], even([other]), SETTINGS, 0.0, 200)
    assert liking(got, 3)[6] > 0
    assert liking(got, 0)[6] == 0
    assert not liking(got, 6)[:3].any()
    others = np.delete(np.arange(8), 6)
    untouched = [each.toarray()[np.ix_(others, others)] for each in (got, lent_once)]
    np.testing.assert_array_equal(*untouched)


def test_an_item_that_comes_later_takes_the_place_of_the_weakest():
    got = lend_to(
        lent(prior({}, {})), np.array([6]), SUPPORT, [TWIN], even([TWIN]), SETTINGS, 0.0, 2
    )
    assert (np.diff(got.indptr) <= 2).all()
