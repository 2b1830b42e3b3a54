"""Statistics of a run: closed forms, scipy's numbers, invariances, and coverage in simulation."""

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gvs_tasks.errors import GVSError
from gvs_tasks.stats import (
    Counts,
    Estimate,
    Rows,
    compare,
    comparison,
    holm,
    macro_mean,
    macro_rate,
    minimum_detectable_difference,
    prediction_powered,
    rogan_gladen,
    wilson,
)

NAN = float("nan")


def flat(values):
    """Rows of one leaf, each its own cluster."""
    size = len(values)
    return Rows(values, ["a"] * size, ["a"] * size, range(size))


def bilingual(clusters, strata=1, seed=0, rate=0.7, correlation=0.5):
    """Labels of two languages, of which an item's two are the same with that chance at least."""
    rng = np.random.default_rng(seed)
    cluster, lang = np.repeat(np.arange(clusters), 2), np.tile(["en", "zh"], clusters)
    stratum = cluster % strata
    leaf = [f"{one}_{which}" for one, which in zip(lang, stratum, strict=True)]
    shared = rng.random(clusters)[cluster]
    together = (rng.random(clusters) < correlation)[cluster]
    uniform = np.where(together, shared, rng.random(cluster.size))
    return Rows((uniform < rate).astype(float), leaf, stratum, cluster)


def numbers(found):
    return np.array([value for value in vars(found).values() if isinstance(value, int | float)])


# Means.


def test_one_leaf_of_distinct_items_is_the_plain_mean():
    values = np.random.default_rng(0).gamma(1, size=40)
    found = macro_mean(flat(values))
    assert found.value == pytest.approx(values.mean())
    assert found.stderr == pytest.approx(stats.sem(values))
    assert (found.n, found.clusters, found.dof) == (40, 40, pytest.approx(39))


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_symmetric_values_get_students_interval(level):
    half = np.random.default_rng(0).normal(size=20)
    values = np.concatenate([5 + half, 5 - half])
    found = macro_mean(flat(values), level)
    theirs = stats.ttest_1samp(values, 0).confidence_interval(level)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))


def test_the_interval_leans_to_the_long_tail():
    values = np.random.default_rng(0).gamma(0.5, size=60)
    found, mirrored = macro_mean(flat(values)), macro_mean(flat(-values))
    theirs = stats.ttest_1samp(values, 0).confidence_interval()
    assert found.low > theirs.low and found.high > theirs.high
    assert (found.low, found.high) == pytest.approx((-mirrored.high, -mirrored.low))


def test_halls_transformation_undoes_itself():
    values = np.random.default_rng(0).gamma(0.5, size=60)
    found = macro_mean(flat(values))
    skewness = stats.skew(values, bias=False) / math.sqrt(60)
    for limit, sign in ((found.low, 1), (found.high, -1)):
        t = (found.value - limit) / found.stderr
        g = t + skewness * t**2 / 3 + skewness**2 * t**3 / 27 + skewness / 6
        assert g == pytest.approx(sign * stats.t.ppf(0.975, 59))


def test_the_macro_mean_is_that_of_the_leaves():
    rows = Rows([1, 1, 1, 0], ["a", "a", "a", "b"], ["a", "a", "a", "b"], range(4))
    assert macro_mean(rows).value == 0.5


def test_strata_add_up():
    """Independent leaves: the stderr of the mean of two means, with Welch's dof."""
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=12), rng.normal(3, 4, size=30)
    names = ["a"] * 12 + ["b"] * 30
    found = macro_mean(Rows(np.concatenate([one, other]), names, names, range(42)))
    assert found.stderr == pytest.approx(math.hypot(stats.sem(one), stats.sem(other)) / 2)
    welch = stats.ttest_ind(one, other, equal_var=False)
    assert found.dof == pytest.approx(welch.df)


def test_one_item_in_two_languages_is_one_item():
    rng = np.random.default_rng(0)
    values = rng.random(30)
    once = macro_mean(flat(values))
    names = {"stratum": ["a"] * 60, "cluster": [*range(30), *range(30)]}
    twice = macro_mean(Rows([*values, *values], ["en"] * 30 + ["zh"] * 30, **names))
    assert (twice.value, twice.stderr) == pytest.approx((once.value, once.stderr))
    assert (twice.n, twice.clusters) == (60, 30)
    apart = macro_mean(Rows([*values, *values], ["en"] * 30 + ["zh"] * 30, ["a"] * 60, range(60)))
    # The same rows as distinct items would seem to be twice as many.
    assert apart.stderr == pytest.approx(once.stderr / math.sqrt(2), rel=0.02)


def test_splitting_clusters_of_rows_that_agree_shrinks_the_error_and_of_rows_that_differ_grows_it():
    agree, differ = [0, 0, 1, 1] * 10, [0, 1] * 20
    for values, sign in ((agree, 1), (differ, -1)):
        names = (["a"] * 40, ["a"] * 40)
        together = macro_mean(Rows(values, *names, np.repeat(np.arange(20), 2)))
        split = macro_mean(Rows(values, *names, range(40)))
        assert sign * (together.stderr - split.stderr) > 0


def test_unjudged_rows_change_nothing():
    rows = bilingual(24, strata=3)
    more = Rows(
        np.append(rows.values, [NAN, NAN]),
        np.append(rows.leaf, ["en_0", "zh_1"]),
        np.append(rows.stratum, [0, 1]),
        np.append(rows.cluster, [0, 99]),
    )
    assert macro_mean(more) == macro_mean(rows)
    assert macro_rate(more) == macro_rate(rows)


def test_a_leaf_without_judged_rows_makes_it_nan():
    found = macro_rate(Rows([1, 0, NAN], ["a", "a", "b"], ["a"] * 3, range(3)))
    assert found.n == 2
    assert np.isnan([found.value, found.stderr, found.low, found.high]).all()
    assert found.record["value"] is None and found.record["n"] == 2


def test_one_cluster_has_a_value_and_no_error():
    found = macro_rate(Rows([1, 0], ["a", "a"], ["a", "a"], [7, 7]))
    assert found.value == 0.5 and math.isnan(found.stderr) and math.isnan(found.high)


def test_strata_of_one_cluster_are_collapsed():
    """As with --limit 1: the spread is then that between the categories."""
    names = [f"c{n}" for n in range(6)]
    values = [0, 1, 1, 0, 1, 1]
    found = macro_mean(Rows(values, names, names, names))
    assert found.stderr == pytest.approx(stats.sem(values)) and found.dof == pytest.approx(5)
    # A single one of them is collapsed with the smallest other, and adds to the error.
    strata = ["a"] * 5 + ["b"] * 3 + ["c"]
    rows = Rows([0, 1, 0, 1, 1, 0, 1, 0, 1], strata, strata, range(9))
    pair = [np.array([0, 1, 0, 1, 1]), np.array([0, 1, 0])]
    alone = sum(stats.sem(each) ** 2 for each in pair) / 9
    assert macro_mean(rows).stderr > math.sqrt(alone)


def test_strata_that_share_a_cluster_are_one():
    values, leaf = [0, 1, 1, 0, 1, 1], ["a"] * 3 + ["b"] * 3
    shared = macro_mean(Rows(values, leaf, leaf, [0, 1, 2, 2, 3, 4]))
    merged = macro_mean(Rows(values, leaf, ["x"] * 6, [0, 1, 2, 2, 3, 4]))
    assert shared == merged and shared.clusters == 5


@settings(deadline=None)
@given(st.data())
def test_the_order_of_rows_and_the_names_do_not_matter(data):
    rows = bilingual(data.draw(st.integers(6, 30)), data.draw(st.integers(1, 3)), seed=1)
    order = data.draw(st.permutations(range(rows.values.size)))
    renamed = [f"item {name}" for name in rows.cluster[order]]
    shuffled = Rows(rows.values[order], rows.leaf[order], rows.stratum[order], renamed)
    assert numbers(macro_mean(shuffled)) == pytest.approx(numbers(macro_mean(rows)))
    assert numbers(macro_rate(shuffled)) == pytest.approx(numbers(macro_rate(rows)))


@given(
    st.lists(st.floats(-100, 100), min_size=2, max_size=30),
    st.floats(0.1, 10),
    st.floats(-50, 50),
)
def test_a_change_of_scale(values, factor, shift):
    one = macro_mean(flat(values))
    other = macro_mean(flat(factor * np.array(values) + shift))
    assert other.value == pytest.approx(factor * one.value + shift, abs=1e-6)
    assert other.stderr == pytest.approx(factor * one.stderr, rel=1e-4, abs=1e-6)


# Rates.


@pytest.mark.parametrize(("k", "n"), [(0, 31), (1, 31), (17, 31), (31, 31), (2, 784)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_wilson_as_scipy_has_it(k, n, level):
    found, theirs = wilson(k, n, level), stats.binomtest(k, n).proportion_ci(level, "wilson")
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_a_rate_of_distinct_items_is_wilsons():
    found = macro_rate(flat([1] * 30 + [0] * 370))
    theirs = wilson(30, 400)
    # Student's quantile, and n - 1 in the variance: a little wider.
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=5e-4)
    assert found.effective_n == pytest.approx(399)


def test_the_effective_size_is_that_of_the_items():
    once, twice = [1] * 30 + [0] * 370, np.repeat([1] * 30 + [0] * 370, 2)
    clusters = np.repeat(np.arange(400), 2)
    found = macro_rate(Rows(twice, ["a"] * 800, ["a"] * 800, clusters))
    expected = macro_rate(flat(once))
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_nothing_unsafe_is_not_nothing_to_fear():
    rows = bilingual(31, rate=1.0)
    found = macro_rate(rows)
    assert (found.value, found.stderr, found.high) == (1, 0, 1)
    assert found.low == pytest.approx(31 / (31 + stats.t.ppf(0.975, 30) ** 2))


@settings(deadline=None)
@given(st.data())
def test_a_rate_stays_in_its_bounds(data):
    size = data.draw(st.integers(2, 20))
    values = data.draw(st.lists(st.sampled_from([0.0, 1.0, NAN]), min_size=size, max_size=size))
    names = [
        data.draw(st.lists(st.sampled_from(kinds), min_size=size, max_size=size))
        for kinds in ("ab", "xy", "12345")
    ]
    found = macro_rate(Rows(values, *names))
    if math.isnan(found.stderr):
        assert math.isnan(found.low) and math.isnan(found.high)
    else:
        assert 0 <= found.low <= found.value <= found.high <= 1


# Comparison.


@given(st.integers(0, 40), st.integers(0, 40))
def test_one_label_an_item_is_mcnemars_exact_test(better, worse):
    a = [1] * better + [0] * worse + [1, 0]
    b = [0] * better + [1] * worse + [1, 0]
    found = compare(flat(a), flat(b), draws=100)
    expected = stats.binomtest(better, better + worse).pvalue if better + worse else 1
    assert found.exact and found.differing == better + worse
    assert found.p_value == pytest.approx(expected)


def test_all_sign_flips_as_scipy_counts_them():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=11), rng.normal(0.5, size=11)
    theirs = stats.permutation_test(
        (a, b), lambda x, y: (x - y).mean(), permutation_type="samples", n_resamples=np.inf
    )
    found = compare(flat(a), flat(b))
    assert found.exact and found.p_value == pytest.approx(theirs.pvalue)


def test_too_many_flips_are_sampled_and_never_zero(monkeypatch):
    a, b = bilingual(60, 3, seed=1), bilingual(60, 3, seed=2, rate=0.55)
    counted = compare(a, b)
    far = compare(flat(np.arange(60.0)), flat(200 + np.arange(60) ** 1.5), draws=1000)
    assert counted.exact and not far.exact
    assert far.p_value == pytest.approx(1 / 1000)
    monkeypatch.setattr(comparison, "_MOST_SUMS", 1)
    sampled = compare(a, b)
    assert not sampled.exact
    assert sampled.p_value == pytest.approx(counted.p_value, abs=0.015)
    assert sampled.p_value * 10_000 == pytest.approx(round(sampled.p_value * 10_000))


def test_runs_that_agree_everywhere():
    found = compare(flat(np.arange(60.0)), flat(np.arange(60.0)), draws=100)
    assert (found.difference.value, found.p_value, found.differing) == (0, 1, 0)


def test_a_comparison_in_closed_form():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=50), rng.normal(size=50)
    found = compare(flat(a), flat(b))
    theirs = stats.ttest_rel(a, b)
    interval = theirs.confidence_interval()
    assert (found.a, found.b) == pytest.approx((a.mean(), b.mean()))
    shown = found.difference
    assert (shown.low, shown.high) == pytest.approx((interval.low, interval.high))
    assert found.p_value == pytest.approx(theirs.pvalue, abs=0.03)
    # The bootstrap's spread is that of the linearised error, not sqrt((G - 1) / G) of it.
    width = 2 * stats.norm.ppf(0.975) * shown.stderr
    assert found.bootstrap.high - found.bootstrap.low == pytest.approx(width, rel=0.05)


def test_a_comparison_is_antisymmetric_and_seeded():
    a, b = bilingual(60, 3, seed=1), bilingual(60, 3, seed=2, rate=0.5)
    one, other = compare(a, b, seed=3), compare(b, a, seed=3)
    assert one.difference.value == -other.difference.value
    assert one.p_value == other.p_value
    assert compare(a, b, seed=3) == one
    assert compare(a, b, seed=4).bootstrap != one.bootstrap


def test_only_what_both_have_judged_is_compared():
    a, b = bilingual(30, 3, seed=1), bilingual(30, 3, seed=2)
    gaps = np.arange(60) % 7 == 0
    kept = [
        Rows(each.values[~gaps], each.leaf[~gaps], each.stratum[~gaps], each.cluster[~gaps])
        for each in (a, b)
    ]
    found = compare(a.with_values(np.where(gaps, NAN, a.values)), b)
    expected = compare(*kept)
    assert numbers(found) == pytest.approx(numbers(expected))
    assert found.difference == expected.difference


def test_nothing_in_common():
    a, b = flat([1, NAN]), flat([NAN, 1])
    found = compare(a, b)
    assert math.isnan(found.difference.value) and math.isnan(found.p_value)
    assert math.isnan(found.bootstrap.low)


def test_runs_on_other_rows_cannot_be_compared():
    with pytest.raises(GVSError, match=r"'cluster'.*one order"):
        compare(flat([1, 0]), Rows([1, 0], ["a"] * 2, ["a"] * 2, [0, 2]))
    with pytest.raises(GVSError, match="at least 100"):
        compare(flat([1, 0]), flat([1, 0]), draws=10)


def test_holm_on_his_terms():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert all(map(math.isnan, holm([NAN, NAN])))
    with pytest.raises(GVSError, match="between 0 and 1"):
        holm([1.2])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_lies_between_raw_and_bonferroni(p_values):
    adjusted = holm(p_values)
    for p, q in zip(p_values, adjusted, strict=True):
        assert p <= q <= min(1, len(p_values) * p)
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


# Judge error.


def test_a_faultless_judge_changes_nothing_but_the_width():
    rate = macro_rate(flat([1] * 30 + [0] * 70))
    found = rogan_gladen(rate, Counts(10**7, 10**7), Counts(10**7, 10**7)).estimate
    assert found.value == pytest.approx(rate.value)
    assert (found.low, found.high) == pytest.approx((rate.low, rate.high), abs=2e-3)


def test_lang_and_reiczigel_by_hand():
    """Their formulas (2) to (17) with n = 100, Se = 18/20, Sp = 57/60 and q = 1.96."""
    rate = Estimate(0.3, math.sqrt(0.3 * 0.7 / 100), NAN, NAN, 100, 100, 1e12)
    found = rogan_gladen(rate, Counts(18, 20), Counts(57, 60)).estimate
    q, se, sp = stats.norm.ppf(0.975), 19 / 22, 58 / 62
    flagged = (30 + q**2 / 2) / (100 + q**2)
    centre = (flagged + sp - 1) / (se + sp - 1)
    var_se, var_sp = se * (1 - se) / 22, sp * (1 - sp) / 62
    shift = 2 * q**2 * (centre * var_se - (1 - centre) * var_sp)
    own = flagged * (1 - flagged) / (100 + q**2)
    stderr = math.sqrt(own + centre**2 * var_se + (1 - centre) ** 2 * var_sp) / (se + sp - 1)
    assert found.value == pytest.approx((0.3 + 0.95 - 1) / 0.85)
    assert found.stderr == pytest.approx(stderr)
    assert found.low == pytest.approx(centre + shift - q * stderr)
    assert found.high == pytest.approx(centre + shift + q * stderr)


def test_a_corrected_rate_is_clipped():
    found = rogan_gladen(macro_rate(flat([0] * 99 + [1])), Counts(90, 100), Counts(95, 100))
    assert found.estimate.value == 0 == found.estimate.low < found.estimate.high < 0.1


@pytest.mark.parametrize(
    ("sensitivity", "specificity", "reason"),
    [
        (Counts(50, 100), Counts(55, 100), "hardly tells"),
        (Counts(4, 5), Counts(2, 4), "hardly tells"),
        (Counts(0, 0), Counts(95, 100), "not measured"),
    ],
)
def test_a_judge_that_cannot_be_corrected_for(sensitivity, specificity, reason):
    found = rogan_gladen(macro_rate(flat([1, 0] * 20)), sensitivity, specificity)
    assert reason in found.reason and math.isnan(found.estimate.value)
    assert found.estimate.n == 40


def test_a_rate_without_error_is_not_corrected():
    rate = macro_rate(Rows([1, 0], ["a", "a"], ["a", "a"], [7, 7]))
    assert "no standard error" in rogan_gladen(rate, Counts(9, 10), Counts(9, 10)).reason


def test_counts_and_rates_are_checked():
    with pytest.raises(GVSError, match="5 correct of 4"):
        Counts(5, 4)
    with pytest.raises(GVSError, match="no rate"):
        rogan_gladen(macro_mean(flat([7, 8, 9])), Counts(9, 10), Counts(9, 10))


def flagged(rows, seed=0):
    """What a judge says that misses .15 of the ones and flags .05 of the zeros."""
    draws = np.random.default_rng(seed).random(rows.values.size)
    return rows.with_values(
        np.where(draws < np.where(rows.values == 1, 0.85, 0.95), rows.values, 1 - rows.values)
    )


def asked(rows, share, seed=0):
    """Labels of that share of the items."""
    clusters = np.unique(rows.cluster)
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(clusters)[: round(share * clusters.size)]
    return np.where(np.isin(rows.cluster, chosen), rows.values, NAN)


def test_labels_everywhere_are_the_answer():
    truth = bilingual(60, 2)
    found = prediction_powered(flagged(truth), truth.values)
    assert (found.labelled, found.trust) == (60, 0)
    expected = macro_mean(truth)
    assert found.estimate.value == pytest.approx(expected.value)
    assert found.estimate.stderr == pytest.approx(expected.stderr, rel=0.02)


def test_a_perfect_judge_makes_all_rows_count():
    truth = bilingual(400, 2)
    found = prediction_powered(truth, asked(truth, 0.25))
    assert found.trust == pytest.approx(1, abs=1e-6)
    assert found.estimate.value == pytest.approx(macro_mean(truth).value, abs=1e-6)
    assert found.estimate.stderr == pytest.approx(macro_mean(truth).stderr, rel=0.02)


def test_a_useless_judge_is_not_trusted():
    truth = bilingual(400, 2)
    labels = asked(truth, 0.25)
    noise = np.random.default_rng(9).integers(0, 2, labels.size).astype(float)
    found = prediction_powered(truth.with_values(noise), labels)
    alone = macro_mean(Rows(labels, ["a"] * 800, ["a"] * 800, truth.cluster))
    assert found.trust < 0.1
    assert found.estimate.value == pytest.approx(alone.value, abs=0.01)
    assert found.estimate.stderr == pytest.approx(alone.stderr, rel=0.05)


def test_a_judge_that_always_says_the_same_is_not_trusted():
    truth = bilingual(100)
    found = prediction_powered(truth.with_values(np.ones(200)), asked(truth, 0.3))
    assert found.trust == 0 and 0 < found.estimate.stderr < 0.2


def test_a_biased_judge_is_set_right():
    truth = bilingual(2000, 2, rate=0.9)
    judge = flagged(truth)
    found = prediction_powered(judge, asked(truth, 0.2))
    assert macro_mean(judge).value < 0.79
    assert found.estimate.low < 0.9 < found.estimate.high
    alone = prediction_powered(judge.with_values(np.zeros(4000)), asked(truth, 0.2))
    assert found.estimate.stderr < alone.estimate.stderr


def test_scores_can_be_powered_too():
    truth = bilingual(200, 2)
    scores = truth.with_values(10 * truth.values + np.random.default_rng(0).normal(size=400))
    found = prediction_powered(scores, 10 * asked(truth, 0.5))
    assert found.trust > 0.8
    assert found.estimate.low < 10 * macro_mean(truth).value < found.estimate.high


def test_too_few_labels():
    truth = bilingual(60)
    with pytest.raises(GVSError, match=r"12 items.*20 are needed"):
        prediction_powered(truth, asked(truth, 0.2))
    with pytest.raises(GVSError, match="120 rows and 3 labels"):
        prediction_powered(truth, [1, 0, 1])


def test_unjudged_rows_are_left_out_of_the_powered_mean():
    truth = bilingual(80, 2)
    judge, labels = flagged(truth), asked(truth, 0.5)
    gaps = np.arange(160) % 9 == 0
    kept = ~gaps
    less = Rows(judge.values[kept], judge.leaf[kept], judge.stratum[kept], judge.cluster[kept])
    found = prediction_powered(judge.with_values(np.where(gaps, NAN, judge.values)), labels)
    assert found == prediction_powered(less, labels[kept])


def test_an_empty_leaf_has_no_powered_mean():
    truth = bilingual(60)
    values = np.where(truth.leaf == "zh_0", NAN, truth.values)
    found = prediction_powered(truth.with_values(values), truth.values)
    assert math.isnan(found.estimate.value) and found.estimate.n == 60


# Power.


def test_the_detectable_difference_is_detected_as_often_as_promised():
    found = minimum_detectable_difference(200, 0.5, correlation=0.5)
    z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    assert found == pytest.approx(z * math.sqrt(2 * 0.25 * 0.5 / 200))
    # Labels with rates .5 +- found / 2 and that correlation, drawn from their two by two table.
    high, low = 0.5 + found / 2, 0.5 - found / 2
    both = high * low + 0.5 * high * low
    table = [both, high - both, low - both, 1 - high - low + both]
    counts = np.random.default_rng(0).multinomial(200, table, size=4000)
    better, worse = counts[:, 1], counts[:, 2]
    mean = (better - worse) / 200
    spread = np.sqrt(((better + worse) / 200 - mean**2) / 200)
    detected = np.abs(mean) > stats.norm.ppf(0.975) * spread
    assert detected.mean() == pytest.approx(0.8, abs=0.03)


def test_more_items_and_correlated_models_see_smaller_differences():
    find = minimum_detectable_difference
    assert find(400, 0.3) == pytest.approx(find(100, 0.3) / 2)
    assert find(100, 0.3, correlation=0.75) == pytest.approx(find(100, 0.3) / 2)
    assert find(100, 0.3, design_effect=4) == pytest.approx(find(100, 0.3) * 2)


@pytest.mark.parametrize(
    "wrong",
    [{"n_clusters": 1}, {"rate": 0}, {"correlation": 1}, {"design_effect": 0}, {"power": 1}],
)
def test_power_out_of_range(wrong):
    with pytest.raises(GVSError, match=next(iter(wrong))):
        minimum_detectable_difference(**{"n_clusters": 100, "rate": 0.5} | wrong)


# What cannot be used.


@pytest.mark.parametrize(
    ("values", "leaf", "message"),
    [
        ([], [], "one number for each row"),
        ([[1.0]], ["a"], "one number for each row"),
        ([1.0, 2.0], ["a"], r"2 values, but 'leaf' has shape \(1,\)"),
        ([1.0, math.inf], ["a", "a"], "infinite in row 1"),
        (["safe"], ["a"], "must be numbers"),
    ],
)
def test_hostile_rows(values, leaf, message):
    with pytest.raises(GVSError, match=message):
        Rows(values, leaf, leaf, leaf)


def test_nothing_judged_at_all():
    rows = flat([NAN, NAN])
    for found in (macro_mean(rows), macro_rate(rows)):
        assert (found.n, found.clusters) == (0, 0) and math.isnan(found.value)
    assert math.isnan(compare(rows, rows).p_value)


@pytest.mark.parametrize("level", [0, 1, 95, NAN])
def test_a_level_is_a_share(level):
    for call in (macro_mean, macro_rate, lambda rows, level: wilson(1, 2, level)):
        with pytest.raises(GVSError, match="level"):
            call(flat([1, 0]), level)


def test_scores_are_no_rates():
    with pytest.raises(GVSError, match=r"7.5 in row 0.*macro_mean"):
        macro_rate(flat([7.5, 1]))
    with pytest.raises(GVSError, match="3 successes of 2"):
        wilson(3, 2)
    assert math.isnan(wilson(0, 0).low)


# Coverage.


@pytest.fixture(scope="module")
def script():
    path = Path(__file__).parent.parent / "scripts" / "simulate_coverage.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("design", ["100", "120 in 12", "376 in 12"])
def test_rates_are_covered_as_often_as_they_say(script, design, rate):
    laid, rng = script.Design.build(design), np.random.default_rng(0)
    runs = (script.correlated(laid, 2000, 0.5, rng) < rate).astype(float)
    found = script.share(lambda run: macro_rate(laid.rows.with_values(run)), runs, rate)
    assert 93 < found < 97


def test_every_interval_is_covered(script):
    design, rng = script.Design.build("120 in 12"), np.random.default_rng(0)
    found = script.coverage(design, 0.3, 0.5, 600, rng)
    assert len(found) == 6
    # 93 and 97 within two standard errors of 600 runs.
    assert {name: share for name, share in found.items() if not 91 < share < 98.4} == {}


def test_the_script_prints_a_table(script, monkeypatch, capsys):
    monkeypatch.setattr(script, "DESIGNS", {"30": (30,)})
    monkeypatch.setattr(sys, "argv", ["simulate_coverage.py", "--draws", "2"])
    script.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 7 * 3 and {line.count("|") for line in lines} == {10}
