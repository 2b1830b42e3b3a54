"""Agreement of judges: golden values from published formulas, and what has no value."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gvs_tasks.agreement import agreements
from gvs_tasks.judge import Verdict


def verdicts(labels):
    return [
        Verdict.none("empty") if label is None else Verdict("d", p_unsafe=0.5, unsafe=label)
        for label in labels
    ]


def agreement(one, other):
    (found,) = agreements({"a": verdicts(one), "b": verdicts(other)})
    return found


def test_the_two_by_two_table_of_cohens_paper():
    """20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: raw .7, expected .5, kappa .4."""
    one = [True] * 25 + [False] * 25
    other = [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15
    found = agreement(one, other)
    assert (found.judges, found.n) == (("a", "b"), 50)
    assert found.raw == pytest.approx(0.7)
    assert found.kappa == pytest.approx(0.4)
    # 100 pooled values, 55 of them yes: expected disagreement 2 * 55 * 45 / (100 * 99) = .5
    assert found.alpha == pytest.approx(1 - 0.3 / 0.5)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=60))
def test_closed_forms(pairs):
    one, other = zip(*pairs, strict=True)
    found = agreement(one, other)
    raw = float(np.mean([a == b for a, b in pairs]))
    assert found.raw == pytest.approx(raw)
    p, q = np.mean(one), np.mean(other)
    ones, n = sum(one) + sum(other), 2 * len(pairs)
    if 0 < ones < n:
        expected = p * q + (1 - p) * (1 - q)
        assert found.kappa == pytest.approx((raw - expected) / (1 - expected))
        disagreement = ones * (n - ones) * 2 / (n * (n - 1))
        assert found.alpha == pytest.approx(1 - (1 - raw) / disagreement)
    else:
        assert math.isnan(found.kappa) and math.isnan(found.alpha)
        assert found.record["kappa"] is found.record["alpha"] is None


def test_only_what_both_judged_counts():
    found = agreement([True, None, False, False], [True, True, None, True])
    assert (found.n, found.raw) == (2, 0.5)


def test_nothing_in_common():
    found = agreement([None, True], [True, None])
    assert found.n == 0 and math.isnan(found.raw)
    assert found.record == {
        "judges": ["a", "b"],
        "n": 0,
        "raw": None,
        "kappa": None,
        "alpha": None,
    }


def test_every_pair():
    three = {name: verdicts([True, False]) for name in "abc"}
    assert [found.judges for found in agreements(three)] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert agreements({"a": verdicts([True])}) == []
