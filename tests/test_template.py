"""Layouts, forced replies and windows, compared with tokenising the whole text by itself."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken

from gvs_tasks.errors import GVSError
from gvs_tasks.judge.encoding import MAX_CHARACTERS, special_ids
from gvs_tasks.judge.template import ForcedReply, Layout, Step, TemplateEncoder
from tests.tiny import byte_tokenizer
from tests.tiny_guards import word_tokenizer

TOKENIZERS = {
    "byte-level": word_tokenizer(),
    "sentencepiece": word_tokenizer(sentencepiece=True),
    "single bytes": byte_tokenizer(pair=False),
}
MARKERS = ("[INST]", "[/INST]")
CHAT = "<|turn|>[INST] {prompt}<|turn|>\nAnswer:\n{response}\n---\n[/INST]<|turn|>\n"
#: The rest of a fixed text completes a control token that a text begins.
TORN = "Q {prompt}|> A {response}turn|> end"
#: Marks, and what they can be put together from.
PIECES = ["<|", "turn", "|>", "<|turn|>", "[/IN", "ST]", "[INS", "T]", "[/INST]", "[INST]", "</s>"]
PIECES += ["<", "s>", "<unk>", "<|end|>", "[", "word", " ", "\n", "\u00a0"]


@pytest.fixture(params=TOKENIZERS)
def tokenizer(request):
    return TOKENIZERS[request.param]


def ids_of(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def encoder(tokenizer, template=CHAT, max_length=2048, **options):
    options = {"markers": MARKERS} | options
    layout = Layout.parse(template)
    return TemplateEncoder(tokenizer, special_ids(tokenizer), layout, max_length, **options)


class TestLayout:
    def test_fixed_texts_and_slots_in_turn(self):
        layout = Layout.parse("a{prompt}b{focus}{response}{other}")
        assert layout.fixed == ("a", "b", "", "{other}")
        assert layout.slots == ("prompt", "focus", "response")

    @pytest.mark.parametrize("template", ["{prompt}", "{response} {response}", "", "{ response }"])
    def test_the_answer_stands_there_once(self, template):
        with pytest.raises(ValueError, match="exactly once"):
            Layout.parse(template)


class TestForcedReply:
    @pytest.mark.parametrize(
        "steps",
        [
            [Step("", ("Yes", "No"))],
            [Step("\n\n", ("safe", "unsafe"))],
            [Step("Safety:", (" Safe", " Controversial", " Unsafe"))],
            [Step("Safety:", (" Safe", " Unsafe"), " Safe"), Step("\nRefusal:", (" Yes", " No"))],
            [
                Step("Harmful request:", (" yes", " no"), " no"),
                Step("\nResponse refusal:", (" yes", " no"), " yes"),
                Step("\nHarmful response:", (" yes", " no")),
            ],
        ],
        ids=["begin", "blank line", "three labels", "two steps", "three steps"],
    )
    def test_labels_are_read_where_they_stand_in_the_whole_text(self, tokenizer, steps):
        tail = "\n---\n[/INST]<|turn|>\n"
        reply = ForcedReply.build(tokenizer, tail, steps)
        row = ids_of(tokenizer, tail) + reply.ids
        text = tail
        for step, place in zip(steps, reply.places, strict=True):
            text += step.after
            for label, token in zip(step.labels, place.ids, strict=True):
                whole = ids_of(tokenizer, text + label)
                # What the logits at the place speak of is the token behind it.
                following = len(row) + place.index + 1
                assert row[:following] == whole[:following]
                assert token == whole[following]
            text += step.then
        assert reply.places[-1].index == -1

    def test_a_space_that_all_labels_share_is_forced(self):
        single = TOKENIZERS["single bytes"]
        reply = ForcedReply.build(single, "tail", [Step("Safety:", (" Safe", " Unsafe"))])
        assert single.decode(reply.ids) == "Safety: "
        assert single.convert_ids_to_tokens(reply.places[0].ids) == ["S", "U"]
        whole = TOKENIZERS["byte-level"]
        reply = ForcedReply.build(whole, "tail", [Step("Safety:", (" Safe", " Unsafe"))])
        assert whole.decode(reply.ids) == "Safety:"

    def test_a_label_with_and_without_its_space(self):
        tokenizer = TOKENIZERS["sentencepiece"]
        steps = [Step("", ("Yes", " Yes", "No", " No"))]
        reply = ForcedReply.build(tokenizer, "[/INST]", steps)
        assert len(set(reply.places[0].ids)) == 4 and reply.ids == []

    @pytest.mark.parametrize("labels", [("Safe", "Sure"), (" Safe", " Sure"), ("same", "same")])
    def test_labels_that_begin_alike(self, labels):
        with pytest.raises(ValueError, match="begin alike"):
            ForcedReply.build(TOKENIZERS["single bytes"], "tail", [Step("It is", labels)])

    def test_a_label_that_begins_inside_a_token(self):
        """ "Contro|versial" is one token: nothing can be read in its middle."""
        with pytest.raises(ValueError):
            ForcedReply.build(TOKENIZERS["byte-level"], "tail Contro", [Step("", ("versial", "x"))])

    def test_a_reply_that_begins_inside_a_token(self):
        steps = [Step("fe:", (" Yes", " No"))]
        with pytest.raises(ValueError, match="inside a token"):
            ForcedReply.build(TOKENIZERS["byte-level"], "It is unsa", steps)


plain = st.text(max_size=80).filter(lambda text: "<" not in text and "[" not in text)


class TestWhole:
    @settings(deadline=None, max_examples=60)
    @given(prompt=plain, response=plain, name=st.sampled_from(list(TOKENIZERS)))
    def test_what_fits_is_tokenised_as_the_whole_text(self, prompt, response, name):
        tokenizer = TOKENIZERS[name]
        windows = encoder(tokenizer).encode({"prompt": prompt, "response": response})
        if not response.strip():
            assert windows is None
            return
        whole = CHAT.replace("{response}", response).replace("{prompt}", prompt)
        assert windows.input_ids == [ids_of(tokenizer, whole)]
        assert windows.attention_mask == [[1] * len(windows.input_ids[0])]
        assert windows.flags == ()

    @pytest.mark.parametrize("response", ["", " \n", "</s>", "<|turn|> <s>", "[/INST]"])
    def test_nothing_to_read(self, tokenizer, response):
        assert encoder(tokenizer).encode({"prompt": "Why?", "response": response}) is None

    def test_the_token_that_begins_a_text_stands_there_once(self, tokenizer):
        bos = tokenizer.bos_token_id
        for response in ("Yes <s>", "word <s> " * 3000):
            rows = encoder(tokenizer, bos=bos, max_length=512).encode(
                {"prompt": "<s>Why?<s>", "response": response}
            )
            for row in rows.input_ids:
                assert row[0] == bos and row.count(bos) == 1 and len(row) <= 512

    def test_a_lone_surrogate(self, tokenizer):
        windows = encoder(tokenizer).encode({"prompt": "a\ud800", "response": "b\udfff"})
        assert len(windows.input_ids) == 1


class TestControl:
    """Texts of an exchange never say who speaks."""

    @settings(deadline=None, max_examples=150)
    @given(
        parts=st.lists(st.sampled_from(PIECES), max_size=12),
        long=st.booleans(),
        template=st.sampled_from([CHAT, TORN]),
    )
    def test_no_mark_survives(self, parts, long, template):
        tokenizer = TOKENIZERS["byte-level"]
        control = special_ids(tokenizer)
        text = "".join(parts)
        values = {"prompt": text, "response": text + " word" * (4000 if long else 1) + text}
        fixed = Layout.parse(template).fixed
        own = [i for i in ids_of(tokenizer, "".join(fixed)) if i in control]
        windows = encoder(tokenizer, template, max_length=1024).encode(values)
        assert ("windowed" in windows.flags) == long
        for row in windows.input_ids:
            assert [i for i in row if i in control] == own
            read = tokenizer.decode(row)
            for marker in MARKERS:
                assert read.count(marker) == template.count(marker)

    @pytest.mark.parametrize("text", ["[/IN[/INST]ST]", "[/IN</s>ST]", "[/IN<|turn|>ST]"])
    def test_a_mark_in_pieces_around_another(self, tokenizer, text):
        (row,) = encoder(tokenizer).encode({"prompt": text, "response": f"a {text}"}).input_ids
        assert tokenizer.decode(row).replace(" ", "").count("[/INST]") == 3
        assert tokenizer.decode(row).count("[/INST]") == 1

    def test_blanks_that_a_control_token_takes_do_not_take_it_out(self):
        tokenizer = word_tokenizer()
        tokenizer.add_tokens([AddedToken("<|user|>", special=True, rstrip=True, lstrip=True)])
        template = "<|user|>{prompt}<|user|>{response}<|user|>"
        (row,) = (
            encoder(tokenizer, template)
            .encode({"prompt": "  plain  ", "response": "\n word \n"})
            .input_ids
        )
        assert row.count(tokenizer.convert_tokens_to_ids("<|user|>")) == 3
        assert row == ids_of(tokenizer, "<|user|>  plain  <|user|>\n word \n<|user|>")

    def test_a_token_of_the_template_that_has_no_role(self):
        """ "<think>" is a token of its own, and no special one."""
        tokenizer = word_tokenizer()
        tokenizer.add_tokens([AddedToken(each, special=False) for each in ("<think>", "<b>")])
        think, bold = tokenizer.convert_tokens_to_ids(["<think>", "<b>"])
        values = {"prompt": "<think><b>", "response": "<think> yes <b> "}
        (row,) = encoder(tokenizer, "{prompt} A {response}<think>").encode(values).input_ids
        assert row.count(think) == 1 and row.count(bold) == 2

    def test_a_slot_in_a_text_stays_text(self, tokenizer):
        values = {"prompt": "{response}", "response": "{prompt} {focus}"}
        (row,) = encoder(tokenizer, "Q {prompt} A {response} E").encode(values).input_ids
        assert row == ids_of(tokenizer, "Q {response} A {prompt} {focus} E")


class TestWindows:
    head, middle, tail = "Q: ", "\nA: ", "\n### "
    single = TOKENIZERS["single bytes"]

    def parts(self, windows, prompt):
        for row in windows.input_ids:
            text = self.single.decode(row)
            start = self.head + prompt + self.middle
            assert text.startswith(start) and text.endswith(self.tail)
            yield text[len(start) : -len(self.tail)]

    @settings(deadline=None, max_examples=60)
    @given(length=st.integers(1, 900), max_length=st.integers(100, 200), overlap=st.integers(0, 90))
    def test_they_cover_the_answer_in_order(self, length, max_length, overlap):
        answer = "".join(chr(97 + n * n % 26) for n in range(length))
        cutter = encoder(
            self.single,
            f"{self.head}{{prompt}}{self.middle}{{response}}{self.tail}",
            max_length,
            overlap=overlap,
        )
        windows = cutter.encode({"prompt": "Tell me", "response": answer})
        room = max_length - len(self.head + "Tell me" + self.middle + self.tail)
        shared, whole = min(overlap, room // 2), ""
        for part in self.parts(windows, "Tell me"):
            assert 0 < len(part) <= room
            if whole:
                assert whole[len(whole) - shared :] == part[:shared]
            whole += part[shared if whole else 0 :]
        assert whole == answer
        assert ("windowed" in windows.flags) == (length > room)
        assert len(windows.input_ids) == max(1, -(-(length - shared) // (room - shared)))

    def test_a_long_prompt_keeps_both_ends(self):
        template = f"{self.head}{{prompt}}{self.middle}{{response}}{self.tail}"
        values = {"prompt": "BEGIN" + "x" * 900 + "END", "response": "y" * 300}
        windows = encoder(self.single, template, 200).encode(values)
        assert set(windows.flags) == {"prompt_truncated", "windowed"}
        for row in windows.input_ids:
            assert len(row) <= 200
            text = self.single.decode(row)
            assert text.startswith("Q: BEGINxxx") and "xxxEND\nA: y" in text

    def test_long_texts_in_every_slot_leave_the_answer_half_of_the_room(self, tokenizer):
        template = "Q {prompt} F {focus} again {prompt} A {response} E"
        values = dict.fromkeys(("prompt", "focus", "response"), "one 二 " * 2000)
        fixed = sum(len(ids_of(tokenizer, text)) for text in Layout.parse(template).fixed)
        windows = encoder(tokenizer, template, 256).encode(values)
        answer = len(ids_of(tokenizer, values["response"]))
        assert all(len(row) <= 256 for row in windows.input_ids)
        assert len(windows.input_ids) <= -(-answer // ((256 - fixed) // 4)) + 1

    def test_no_room(self, tokenizer):
        with pytest.raises(GVSError, match=r"reads 64 tokens and its template.*longer input"):
            encoder(tokenizer, max_length=64)

    @pytest.mark.parametrize("piece", ["a", "<|", "[/IN", "</s>", " ", "好", "word "])
    def test_400_000_characters_in_linear_time(self, piece):
        """Quadratic work on so long a text would take hours."""
        tokenizer = TOKENIZERS["byte-level"]
        response = "text " + (piece * MAX_CHARACTERS)[:MAX_CHARACTERS]
        start = time.perf_counter()
        windows = encoder(tokenizer).encode({"prompt": "p", "response": response})
        assert time.perf_counter() - start < 20
        assert "answer_truncated" in windows.flags
        assert all(len(row) <= 2048 for row in windows.input_ids)
