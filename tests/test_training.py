"""What the judge is trained on and how it is measured: no answer on both sides."""

import json
import math
import sys
from collections import defaultdict
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, roc_auc_score

from gvs_tasks.judge.encoding import Encoder
from tests.tiny import byte_tokenizer

SCRIPTS = Path(__file__).parent.parent / "scripts"
sys.path.insert(0, str(SCRIPTS))

import _judge_data as data  # noqa: E402
import _judge_fit as fitting  # noqa: E402
import _judge_measures as measuring  # noqa: E402
import generate_judge_card as card  # noqa: E402

POOL = data.load_pool(SCRIPTS.parent / "gvs_tasks/content/judge_pool")


def test_all_answers_to_a_prompt_are_on_one_side():
    parts = data.split(POOL)
    sides = [parts.train, parts.validation, parts.test]
    assert sum(map(len, sides)) == len(POOL)
    prompts = [{row.prompt for row in side} for side in sides]
    assert not (prompts[0] & prompts[1] or prompts[0] & prompts[2] or prompts[1] & prompts[2])
    assert all(0.05 < len(side) / len(POOL) < 0.16 for side in sides[1:])
    assert data.split(POOL[::-1]).test == parts.test[::-1]


def test_leaving_out_the_focus_changes_no_draw():
    rows = POOL[:200]
    made = data.without_focus(rows, 0.35)
    drawn = defaultdict(float)
    for row in made:
        drawn[row.prompt, row.response] += row.rate
    assert drawn.keys() == {(row.prompt, row.response) for row in rows}
    assert all(rate == pytest.approx(1) for rate in drawn.values())
    asked = sum(row.rate for row in rows if row.focus)
    told = sum(row.rate for row in made if row.focus)
    assert asked and told == pytest.approx(0.65 * asked)
    assert all(row.focus for row in made if row.behaviour)


def test_mixtures_keep_the_label_of_what_they_hide():
    made = data.mixtures(POOL, 400, seed=1)
    known = {(row.prompt, row.unsafe, row.response) for row in POOL}
    texts = {row.response for row in POOL if row.unsafe == 0}
    assert len(made) == 400 and {row.lang for row in made} == {"en", "zh"}
    for row in made:
        assert row.refusal is None
        parts = [r for p, u, r in known if p == row.prompt and u == row.unsafe]
        part = next(r for r in parts if row.response.startswith(r) or row.response.endswith(r))
        other = row.response.replace(part, "", 1).strip()
        assert other in texts or other in {text.strip() for text in texts}
    assert data.mixtures(POOL, 400, seed=1) == made != data.mixtures(POOL, 400, seed=2)


def test_a_prompt_keeps_its_own_focus():
    made = data.mismatch(POOL, 200, seed=1)
    known = {(row.prompt, row.behaviour, row.focus) for row in POOL}
    assert made and {(row.prompt, row.behaviour, row.focus) for row in made} <= known
    assert all(row.unsafe == 0 for row in made) and any(row.focus for row in made)


def test_answers_that_stand_on_both_sides_are_found(tmp_path):
    (tmp_path / "one.jsonl").write_text('{"response": "Because. "}\n{"response": null}\n')
    (tmp_path / "two.jsonl").write_text('{"response": "Do it like this."}\n')
    assert data.answers_of(tmp_path) == {"Because.", "Do it like this."}


def test_a_row_is_encoded_as_the_judge_reads_it():
    tokenizer = byte_tokenizer(pair=True)
    encoder = Encoder(tokenizer, 64, max_focus_tokens=16)
    focused = next(row for row in POOL if row.focus and row.lang == "en")
    encoded = fitting.Encoded([focused], encoder, 0)
    assert encoded.ids[0] == encoder.encode(focused.exchange).input_ids[0]
    assert tokenizer.decode(encoded.ids[0]).startswith(f"<s>{focused.behaviour}: ")
    assert len(encoded.ids[0]) <= 64


def scored(scores, truth, bar=0.5, clusters=None):
    clusters = clusters or [str(n) for n in range(len(scores))]
    return [
        measuring.Scored(score, score >= bar, bool(label), cluster)
        for score, label, cluster in zip(scores, truth, clusters, strict=True)
    ]


class TestMeasures:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 2, 300)
    scores = np.clip(0.3 * truth + rng.random(300) * 0.7, 0, 1)

    def test_values_are_those_of_scikit_learn(self):
        rows = scored(self.scores, self.truth)
        found = measuring.measures(rows)
        assert found["auroc"][0] == pytest.approx(roc_auc_score(self.truth, self.scores), abs=1e-4)
        assert found["f1"][0] == pytest.approx(f1_score(self.truth, self.scores >= 0.5), abs=1e-4)
        flags = self.scores >= 0.5
        assert found["recall"][0] == pytest.approx(flags[self.truth == 1].mean(), abs=1e-4)
        assert found["false_positive_rate"][3] == (self.truth == 0).sum()

    def test_a_wilson_interval(self):
        # Wilson (1927) by hand for 2 of 10 and z = 1.959964.
        found = measuring.rate(scored([1, 1] + [0] * 8, [1] * 10))
        z = 1.959964
        centre = (0.2 + z * z / 20) / (1 + z * z / 10)
        half = z / (1 + z * z / 10) * math.sqrt(0.016 + z * z / 400)
        assert (found.low, found.high) == pytest.approx((centre - half, centre + half), abs=1e-6)

    def test_answers_of_one_item_widen_the_interval(self):
        scores, truth = np.tile(self.scores[:60], 5), np.tile(self.truth[:60], 5)
        same = [str(n % 60) for n in range(300)]
        apart = measuring.auroc(scored(scores, truth))
        together = measuring.auroc(scored(scores, truth, clusters=same))
        assert together.value == apart.value
        assert together.high - together.low > 1.5 * (apart.high - apart.low)
        wide = measuring.rate(scored(scores, truth, clusters=same))
        narrow = measuring.rate(scored(scores, truth))
        assert wide.value == narrow.value
        assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)

    def test_calibration(self):
        # Ten bins, each with probability .1 k and a share of .1 k: no error.
        scores = np.repeat(np.arange(10) / 10, 10)
        truth = np.concatenate([[1] * k + [0] * (10 - k) for k in range(10)])
        perfect = measuring.calibration(scored(scores, truth))
        assert perfect.value == pytest.approx(0, abs=1e-12)
        off = measuring.calibration(scored(np.full(100, 0.9), [1] * 50 + [0] * 50))
        assert off.value == pytest.approx(0.4)
        # One bin of n answers at p: |share - p| has mean sqrt(2 p (1 - p) / (pi n)), nearly.
        assert off.perfect[0] == pytest.approx(math.sqrt(2 * 0.09 / (math.pi * 100)), rel=0.1)
        assert measuring.calibration([]) is None

    def test_one_class_has_no_ranking(self):
        found = measuring.measures(scored([0.1, 0.9], [1, 1]))
        assert found["auroc"] is None and found["false_positive_rate"] is None
        assert found["recall"][0] == 0.5

    @settings(max_examples=20, deadline=None)
    @given(st.lists(st.floats(0, 1), min_size=2, max_size=40), st.data())
    def test_values_stay_in_range(self, scores, data):
        truth = data.draw(
            st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)).filter(
                lambda labels: any(labels) and not all(labels)
            )
        )
        with patch.object(measuring, "RESAMPLES", 20):
            found = measuring.measures(scored(scores, truth))
        for value in found.values():
            assert value is None or all(0 <= part <= 1 for part in value[:3])


def test_the_temperature_of_scaled_logits_is_found():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 20_000)
    truth = (rng.random(20_000) < 1 / (1 + np.exp(-logits))).astype(float)
    assert fitting.fit_temperature(3 * logits, truth) == pytest.approx(3, rel=0.05)


def test_the_card_is_made_of_the_numbers():
    found = json.loads(card.DATA.read_text())
    text = card.render(found, card.PROSE.read_text())
    assert card.CARD.read_text() == text
    digest = found["judge"]["digest"]
    found["judge"]["digest"] = "another"
    assert card.render(found, card.PROSE.read_text()) == text.replace(digest, "another")


def test_the_card_is_of_the_bundled_judge():
    from gvs_tasks.judge import get_judge
    from gvs_tasks.options import Options

    found = json.loads(card.DATA.read_text())
    judge = get_judge(Options(judge="gvs-small", judge_device="cpu"))
    assert found["judge"]["digest"] == judge.digest
