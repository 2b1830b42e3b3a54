"""The multiple-choice track: its metrics in closed form, and its requests in lm_eval itself."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.tasks import TaskManager

from gvs_tasks import tasks_path
from gvs_tasks.choice import choice_metrics, process_choice

LIKELIHOODS = st.floats(min_value=-1e4, max_value=0)
LENGTHS = st.tuples(st.integers(1, 2000), st.integers(1, 2000))


@pytest.mark.parametrize(
    ("letters", "accuracy", "bias"),
    [
        ((-1.0, -2.0, -2.0, -1.0), 1.0, 0.0),  # right in both orders
        ((-2.0, -1.0, -1.0, -2.0), 0.0, 0.0),  # wrong in both orders
        ((-1.0, -2.0, -1.0, -2.0), 0.5, 1.0),  # always A
        ((-2.0, -1.0, -2.0, -1.0), 0.5, -1.0),  # always B
        ((-1.0, -1.0, -1.0, -1.0), 0.5, 0.0),  # undecided
    ],
)
def test_letters(letters, accuracy, bias):
    metrics = choice_metrics((-1.0, -2.0), (10, 10), letters)
    assert (metrics["letter_acc"], metrics["position_bias"]) == (accuracy, bias)


def test_length_decides_between_acc_and_acc_norm():
    metrics = choice_metrics((-60.0, -50.0), (200, 100), (-1.0,) * 4)
    assert (metrics["acc"], metrics["acc_norm"]) == (0.0, 1.0)


def test_a_likelihood_that_is_missing_gives_no_score():
    metrics = choice_metrics((float("nan"), -1.0), (10, 10), (-1.0, -2.0, float("nan"), -1.0))
    assert all(math.isnan(metrics[name]) for name in ("acc", "acc_norm", "letter_acc"))
    assert math.isnan(metrics["position_bias"])


@given(LIKELIHOODS, LIKELIHOODS, LENGTHS, st.tuples(*[LIKELIHOODS] * 4))
def test_exchanging_the_answers_turns_the_score_round(safe, unsafe, lengths, letters):
    metrics = choice_metrics((safe, unsafe), lengths, letters)
    swapped = choice_metrics((unsafe, safe), lengths[::-1], letters[2:] + letters[:2])
    for name in ("acc", "acc_norm", "letter_acc"):
        assert metrics[name] + swapped[name] == 1
    assert metrics["position_bias"] == swapped["position_bias"]


@pytest.fixture(scope="module")
def tasks() -> dict:
    manager = TaskManager(include_path=str(tasks_path()), include_defaults=False)
    return manager.load(["gvs_mc_en_bias", "gvs_mc_zh_bias"])["tasks"]


def requests(task, **kwargs):
    task.build_all_requests(limit=1, rank=0, world_size=1, **kwargs)
    (doc,) = list(task.test_docs())[:1]
    assert [instance.idx for instance in task.instances] == list(range(6))
    assert {instance.request_type for instance in task.instances} == {"loglikelihood"}
    return doc, [instance.args for instance in task.instances]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_requests_without_a_chat_template(tasks, lang):
    doc, arguments = requests(tasks[f"gvs_mc_{lang}_bias"])
    space = {"en": " ", "zh": ""}[lang]
    assert [continuation for _, continuation in arguments] == [
        space + text for text in (doc["safe"], doc["unsafe"], "A", "B", "A", "B")
    ]
    prompt, same, *options = [context for context, _ in arguments]
    assert prompt == same
    assert prompt.startswith({"en": "User: ", "zh": "用户："}[lang]) and doc["prompt"] in prompt
    assert options[0] == options[1] and options[2] == options[3]
    assert all(doc["prompt"] in context for context in options)
    assert options[0].index(doc["safe"]) < options[0].index(doc["unsafe"])
    assert options[2].index(doc["safe"]) > options[2].index(doc["unsafe"])


def test_requests_with_a_chat_template(tasks):
    def template(messages, add_generation_prompt=True):
        return "".join(f"<{m['role']}>{m['content']}" for m in messages) + "<assistant>"

    doc, arguments = requests(
        tasks["gvs_mc_en_bias"],
        apply_chat_template=True,
        chat_template=template,
        system_instruction="Be brief.",
    )
    assert arguments[0] == (f"<system>Be brief.<user>{doc['prompt']}<assistant>", doc["safe"])
    assert arguments[3][1] == "B" and arguments[3][0].endswith("Reply with A or B.<assistant>")


def test_results_are_read_in_the_order_of_the_requests():
    doc = {"safe": "x" * 20, "unsafe": "y" * 10}
    results = [(-30.0, False), (-20.0, False), (-1, True), (-2, False), (-3, False), (-1, True)]
    metrics = process_choice(doc, results)
    assert [metrics[name] for name in ("acc", "acc_norm")] == [0.0, 1.0]
    assert metrics["letter_acc"] == 1.0
