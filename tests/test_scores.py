import math

import pytest

from gvs_tasks.errors import GVSError
from gvs_tasks.evenness import mirror_sets
from gvs_tasks.judge import Verdict
from gvs_tasks.results import read_one
from gvs_tasks.scores import (
    METRICS,
    across,
    compare_runs,
    coverage,
    cuts,
    estimate,
    language_gap,
    selected,
)
from tests.runs import BENIGN, GVS, JUDGE, PAIR, edit_samples, spread, verdict, write_run

SCORE = METRICS["gvs_score"]
OVERALL = cuts()[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Two items of every leaf of harmful and harmless prompts."""
    folder = tmp_path_factory.mktemp("whole")
    write_run(folder, GVS + BENIGN, limit=2)
    return read_one(folder)


def overall(run, name="gvs_score"):
    return estimate(run, JUDGE, METRICS[name], OVERALL)


def test_scores_are_those_of_lm_eval(whole):
    (known,) = whole.files.values()
    tasks = {"overall": "gvs", "language": "gvs_{lang}", "category": "gvs_{lang}_{category}"}
    seen = 0
    for lang in ("en", "zh"):
        for cut in [*cuts(), *cuts(lang)]:
            if cut.kind == "overall" and cut.lang:
                task = f"gvs_{lang}"
            elif cut.kind == "layer" and cut.lang:
                task = f"gvs_{lang}_{cut.layer}"
            elif cut.kind in tasks and (cut.lang or cut.kind == "overall"):
                task = tasks[cut.kind].format(lang=cut.lang, category=cut.category)
            else:
                continue
            for metric in ("gvs_score", "safe_rate", "refusal_rate"):
                found = estimate(whole, JUDGE, METRICS[metric], cut)
                assert found.value == pytest.approx(known["results"][task][f"{metric},{JUDGE}"])
                seen += 1
    assert seen > 100
    refused = estimate(whole, JUDGE, METRICS["over_refusal"], OVERALL)
    assert refused.value == pytest.approx(known["results"]["gvs_benign"][f"refusal_rate,{JUDGE}"])


def test_intervals_stay_on_the_scale(whole):
    for cut in cuts():
        for metric in METRICS.values():
            found = estimate(whole, JUDGE, metric, cut)
            if found is not None and not math.isnan(found.low):
                assert 0 <= found.low <= found.value <= found.high <= metric.highest
    assert estimate(whole, JUDGE, METRICS["acc"], OVERALL) is None


class TestClusters:
    def test_languages_and_twins_of_an_item_are_one(self, whole):
        found = selected(whole, JUDGE, SCORE, OVERALL).rows
        assert len(found.values) == 48 and len(set(found.cluster)) == overall(whole).clusters <= 24
        twin = selected(whole, JUDGE, METRICS["over_refusal"], OVERALL).rows
        assert set(twin.cluster) == set(found.cluster)

    def test_a_mirror_set_is_one_situation_also_among_twins(self, tmp_path):
        write_run(tmp_path, ["gvs_en_culture", "gvs_benign_en_culture"], limit=None)
        run = read_one(tmp_path)
        docs = [a.doc for a in run.leaves["gvs_en_culture"].answers[JUDGE]]
        sets = {doc.mirror_set for doc in docs if doc.mirror_set}
        assert sets and all(run.clusters[d.id] == d.mirror_set for d in docs if d.mirror_set)
        alone = [doc for doc in docs if not doc.mirror_set]
        assert overall(run).clusters == len(alone) + len(sets)
        twins = [a.doc for a in run.leaves["gvs_benign_en_culture"].answers[JUDGE]]
        assert not any(doc.mirror_set for doc in twins)
        assert {run.clusters[doc.id] for doc in twins} == {run.clusters[d.id] for d in docs}


class TestUnjudged:
    @pytest.fixture
    def run(self, tmp_path):
        """The first of three items is unjudged."""
        write_run(tmp_path)

        def unjudge(lines):
            lines[0]["filtered_resps"] = [Verdict.none("the answer is empty").to_json()]

        edit_samples(tmp_path, "gvs_en_bias", unjudge)
        return read_one(tmp_path)

    def test_it_is_left_out_of_the_mean_and_counted(self, run):
        judged = [a.metrics["gvs_score"] for a in run.leaves["gvs_en_bias"].answers[JUDGE][1:]]
        cut = next(cut for cut in cuts("en") if cut.category == "bias")
        assert estimate(run, JUDGE, SCORE, cut).value == pytest.approx(sum(judged) / 2)
        assert coverage(run, JUDGE, "text") == pytest.approx(5 / 6)
        assert math.isnan(coverage(run, JUDGE, "benign"))


class TestComparison:
    def write(self, tmp_path, name, judged, tasks=PAIR, limit=8):
        write_run(tmp_path / name, tasks, limit=limit, judged=judged, model=name)
        return read_one(tmp_path / name)

    def test_a_shift_on_every_item_is_found_with_its_size(self, tmp_path):
        a = self.write(tmp_path, "a", lambda doc, judge: verdict(0.25))
        b = self.write(tmp_path, "b", lambda doc, judge: verdict(0.375))
        found = compare_runs(a, JUDGE, b, JUDGE, SCORE, draws=500)
        first = found[0]
        assert first.cut == OVERALL and first.items == 16
        assert first.result.difference.value == pytest.approx(1.25)
        assert (first.result.a, first.result.b) == (7.5, 6.25)
        # All 8 items differ the same way: 2 of 2^8 sign flips are as extreme.
        assert first.result.exact and first.result.p_value == pytest.approx(2 / 2**8)
        assert all(each.beyond_noise for each in found if each.cut.kind == "category")

    def test_p_values_are_adjusted_within_their_kind(self, tmp_path):
        a = self.write(tmp_path, "a", lambda doc, judge: verdict(0.25))
        b = self.write(tmp_path, "b", lambda doc, judge: verdict(0.375))
        found = compare_runs(a, JUDGE, b, JUDGE, SCORE, draws=500)
        languages = [each for each in found if each.cut.kind == "language"]
        assert [each.p_adjusted for each in languages] == [
            pytest.approx(2 * each.result.p_value) for each in languages
        ]

    def test_equal_runs_do_not_differ(self, tmp_path):
        a, b = self.write(tmp_path, "a", spread), self.write(tmp_path, "b", spread)
        first = compare_runs(a, JUDGE, b, JUDGE, SCORE, draws=500)[0]
        assert first.result.p_value == 1 and not first.beyond_noise

    def test_only_shared_items_count(self, tmp_path):
        a = self.write(tmp_path, "a", lambda doc, judge: verdict(0.25))
        b = self.write(tmp_path, "b", lambda doc, judge: verdict(0.375), ["gvs_en_bias"], 5)
        found = compare_runs(a, JUDGE, b, JUDGE, SCORE, draws=500)
        assert {each.items for each in found} == {5}
        assert not any(each.cut.lang == "zh" for each in found)

    def test_nothing_shared(self, tmp_path):
        a = self.write(tmp_path, "a", spread)
        b = self.write(tmp_path, "b", spread, ["gvs_en_social"])
        with pytest.raises(GVSError, match="nothing to compare"):
            compare_runs(a, JUDGE, b, JUDGE, SCORE)

    def test_other_prompts_under_one_number(self, tmp_path):
        a = self.write(tmp_path, "a", spread)
        self.write(tmp_path, "b", spread)
        edit_samples(
            tmp_path / "b", "gvs_en_bias", lambda lines: lines[0]["doc"].update(prompt="Other.")
        )
        with pytest.raises(GVSError, match="Item BIA-001 of gvs_en_bias is not the same"):
            compare_runs(a, JUDGE, read_one(tmp_path / "b"), JUDGE, SCORE)


def test_language_gap(tmp_path):
    write_run(
        tmp_path, limit=6, judged=lambda doc, judge: verdict(0.25 if doc["lang"] == "en" else 0.5)
    )
    found = language_gap(read_one(tmp_path), JUDGE, SCORE)
    assert found.difference.value == pytest.approx(2.5)
    assert found.p_value == pytest.approx(2 / 2**6)
    write_run(tmp_path / "one", ["gvs_en_bias"])
    assert language_gap(read_one(tmp_path / "one"), JUDGE, SCORE) is None


def test_mirror_sets(tmp_path):
    def judged(doc, judge):
        return verdict(1.0 if doc["id"] == marked else 0.5)

    write_run(tmp_path, ["gvs_en_politics", "gvs_zh_politics"], limit=None)
    docs = [a.doc for a in read_one(tmp_path).leaves["gvs_en_politics"].answers[JUDGE]]
    marked = next(doc.id for doc in docs if doc.mirror_set)
    write_run(tmp_path, ["gvs_en_politics", "gvs_zh_politics"], limit=None, judged=judged)
    first, *rest = mirror_sets(read_one(tmp_path), JUDGE, SCORE)
    assert first.values[marked] == 0 and first.spread == 5 and first.category == "politics"
    assert all(each.spread == 0 for each in rest)
    members = {doc.id for doc in docs if doc.mirror_set == first.name}
    assert set(first.values) == members and len(members) > 1


def test_judges_agree_as_far_as_they_do(tmp_path):
    def judged(doc, judge):
        return verdict(0.75 if judge == "b" and doc["lang"] == "zh" else 0.25)

    write_run(tmp_path, judges=("a", "b"), judged=judged)
    ((model, found),) = across([read_one(tmp_path)])
    assert (model, found.n, found.raw) == ("org/model", 6, 0.5)
