import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gvs_tasks.answer import TRACE_MARKS, final_answer


@pytest.mark.parametrize(("opening", "closing"), TRACE_MARKS)
class TestEveryTraceMark:
    def test_only_the_text_after_the_trace_counts(self, opening, closing):
        assert final_answer(f"{opening}bad idea{closing}\n\nNo.").text == "No."

    def test_a_trace_opened_by_the_prompt(self, opening, closing):
        assert final_answer(f"hm{closing}Yes", prompt=f"Q\n{opening}\n").text == "Yes"
        assert final_answer("still thinking", prompt=f"Q{opening}").unjudged

    def test_a_closing_mark_alone(self, opening, closing):
        assert final_answer(f"hm\n{closing}\n\nYes").text == "Yes"

    def test_marks_in_prose_are_prose(self, opening, closing):
        for text in (f"Models write {opening} first.", f"Step 1. Then {closing} ends it. Done."):
            assert final_answer(text).text == text

    def test_several_traces(self, opening, closing):
        output = f"{opening}a{closing}b\n{opening}c{closing}d"
        assert final_answer(output).text == "b\nd"

    def test_one_trace_after_the_other(self, opening, closing):
        assert final_answer(f"{opening}a{closing}{opening}b{closing} No.").text == "No."
        assert final_answer(f"{opening}a{closing}{opening}b").unjudged

    def test_an_answer_inside_the_trace_is_unjudged(self, opening, closing):
        assert "trace" in final_answer(f"{opening}so long").unjudged

    def test_nothing_after_the_trace_is_unjudged(self, opening, closing):
        assert final_answer(f"{opening}so{closing} \n").unjudged == "the answer is empty"


@pytest.mark.parametrize("mark", ["<think>", "\n<think>", "\n</think>\n", "<think>x</think>"])
def test_time_is_linear_in_what_a_model_repeats(mark):
    start = time.perf_counter()
    final_answer(mark * (400_000 // len(mark)))
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("output", [None, 7, ["text"]])
def test_no_text_at_all(output):
    assert final_answer(output).unjudged == "the model returned no text"


@given(st.text())
def test_text_without_marks_is_kept(text):
    answer = final_answer(text.replace("<", "").replace("[", ""))
    assert (answer.text is None) == (answer.unjudged is not None)
    if answer.text is not None:
        assert answer.text == text.replace("<", "").replace("[", "").strip()


@given(st.text(alphabet="<think>/ \n"), st.text(alphabet="<think> "))
def test_any_mixture_of_marks_gives_text_or_a_reason(output, prompt):
    answer = final_answer(output, prompt)
    assert (answer.text is None) != (answer.unjudged is None)
