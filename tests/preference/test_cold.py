"""New items borrow the behaviour of the items whose content is nearest."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from recsys.config import PreferenceSettings
from recsys.preference.cold import ContentPrior, lend, lend_to
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


def lent(*priors, support=SUPPORT, settings=SETTINGS, growth=0.0):
    """Without growth, popularity is not in the weights, and nothing needs to be taken back."""
    return lend(csr_array(W), support, priors, settings, growth)


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


def test_the_second_kind_of_content_serves_only_where_the_first_has_no_lender():
    text, image = TWIN, prior({6: [4], 7: [4]}, {6: [1.0], 7: [1.0]})
    got = lent(text, image)
    assert liking(got, 3)[6] == 0
    assert liking(got, 3)[7] == pytest.approx(1)


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
    whole = lend(csr_array(W), support, [TWIN], settings, growth)
    without_it = lend(csr_array(W), support, [prior({}, {})], settings, growth)
    later = lend_to(without_it, np.array([6, 7]), support, [TWIN], settings, growth, 200)
    np.testing.assert_allclose(later.toarray(), whole.toarray(), rtol=1e-5, atol=1e-12)


def test_lending_anew_forgets_what_was_lent_before():
    lent_once = lent(TWIN)
    other = prior({6: [4], 4: [6]}, {6: [0.9], 4: [0.9]})
    got = lend_to(lent_once, np.array([6]), SUPPORT, [other], SETTINGS, 0.0, 200)
    assert liking(got, 3)[6] > 0
    assert liking(got, 0)[6] == 0
    assert not liking(got, 6)[:3].any()
    others = np.delete(np.arange(8), 6)
    untouched = [each.toarray()[np.ix_(others, others)] for each in (got, lent_once)]
    np.testing.assert_array_equal(*untouched)


def test_an_item_that_comes_later_takes_the_place_of_the_weakest():
    got = lend_to(lent(prior({}, {})), np.array([6]), SUPPORT, [TWIN], SETTINGS, 0.0, 2)
    assert (np.diff(got.indptr) <= 2).all()
