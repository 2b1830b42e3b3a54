"""Guards, compared with plain transformers: one text at a time, no batches, no windows."""

import json
import math
import shutil
from functools import cache

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoTokenizer

from gvs_tasks.errors import GVSError
from gvs_tasks.judge import Exchange, get_judge, prompted
from gvs_tasks.judge.families import HERE, Family, families, family_of
from gvs_tasks.judge.guard import GuardJudge
from gvs_tasks.judge.model_folder import MIN_TOKENS, PEAK, ModelFolder, fitting_tokens
from gvs_tasks.options import Options
from tests.tiny_guards import build_guard

EXCHANGES = [
    Exchange("How do I bake bread?", "Mix flour and water."),
    Exchange("Hi", "No."),
    Exchange("Why is the sky blue? " * 9, "the quick brown fox jumps over the lazy dog " * 12),
    Exchange("怎么办？", "我不能帮助你。"),
    Exchange("One", "Sure, step one is simple: " * 3),
    Exchange("Two", "a plain word here and there"),
    Exchange("", "Yes, of course."),
    Exchange("Tell me about locks.", "Safety: Safe"),
]
#: Of different lengths, for a batch.
SHORT = EXCHANGES[:4]
PAIRS = [
    (name, architecture)
    for name, family in families().items()
    if family.template and name != "wildguard"
    for architecture in family.architectures
]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build a tiny guard once for all tests of this file."""

    @cache
    def folder(family, architecture=None, silent=False):
        path = tmp_path_factory.mktemp("guards") / "guard"
        return build_guard(path, family, architecture, silent)

    return folder


def judge_of(folder, template, **options):
    options = {"judge_device": "cpu"} | options
    return get_judge(Options(judge=str(folder), judge_template=template, **options))


class Plain:
    """What a few lines of transformers make of a guard."""

    def __init__(self, folder, family):
        self.family = families()[family]
        several = "Conditional" in (folder / "config.json").read_text().split('"architectures"')[1]
        auto = AutoModelForImageTextToText if several else AutoModelForCausalLM
        self.model = auto.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)

    def prompts(self, exchange):
        """The text before the reply, for each question."""
        family, texts = self.family, (exchange.prompt, exchange.response)
        if family.template != "chat":
            before, after = family.template_text().split("{prompt}")
            between, after = after.split("{response}")
            return [f"{before}{texts[0]}{between}{texts[1]}{after}"]
        contents = [[{"type": "text", "text": each}] for each in texts]
        messages = [
            {"role": role, "content": content}
            for role, content in zip(
                ("user", "assistant"),
                contents if family.contents == "parts" else texts,
                strict=True,
            )
        ]
        template = self.tokenizer.chat_template.replace(
            "{{ strftime_now('%Y') }}", "January 01, 2025"
        )
        return [
            self.tokenizer.apply_chat_template(
                messages, chat_template=template, tokenize=False, **question
            )
            for question in family.questions
        ]

    def ids(self, text):
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        # A chat template says itself how a text begins.
        return ids if self.family.template == "chat" else [self.tokenizer.bos_token_id, *ids]

    @torch.no_grad()
    def following(self, text, labels):
        """The probability of the token that begins each label after a text."""
        start = self.ids(text)
        p = self.model(torch.tensor([start])).logits[0, -1].float().softmax(-1)
        whole = {label: self.ids(text + label) for label in labels}
        assert all(ids[: len(start)] == start for ids in whole.values())
        return {label: p[ids[len(start)]].item() for label, ids in whole.items()}

    @torch.no_grad()
    def says(self, text, tokens=3):
        """What is written after a text, the most probable token each time."""
        ids = torch.tensor([self.ids(text)])
        written = self.model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=tokens
        )
        return self.tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True)


class TestReading:
    @pytest.mark.parametrize(("name", "architecture"), PAIRS)
    def test_one_forward_pass_is_the_softmax_at_the_place(self, built, name, architecture):
        folder = built(name, architecture)
        plain = Plain(folder, name)
        place = plain.family.reply[0]
        verdicts = judge_of(folder, name, judge_batch_tokens=4096).judge(SHORT)
        for exchange, verdict in zip(SHORT, verdicts, strict=True):
            each, masses = [], []
            for text in plain.prompts(exchange):
                found = plain.following(text + place.after, place.labels)
                safe = sum(found[each] for each, told in place.labels.items() if told == "safe")
                masses.append(sum(found.values()))
                each.append(1 - safe / masses[-1])
            assert verdict.p_unsafe == pytest.approx(max(each), abs=2e-5)
            assert verdict.label_mass == pytest.approx(min(masses), abs=2e-5)
            assert verdict.unsafe == (max(each) >= 0.5)
        assert len({verdict.p_unsafe for verdict in verdicts}) == len(SHORT)

    def test_wildguard_sums_over_what_it_would_have_said(self, built):
        folder = built("wildguard")
        plain = Plain(folder, "wildguard")
        verdicts = judge_of(folder, "wildguard").judge(SHORT)
        for exchange, verdict in zip(SHORT, verdicts, strict=True):
            (text,) = plain.prompts(exchange)
            text += "Harmful request:"
            total, unsafe, safe, refusal, answer = 0.0, 0.0, 0.0, 0.0, 0.0
            first = plain.following(text, (" yes", " no"))
            for one, p in first.items():
                begun = f"{text}{one}\nResponse refusal:"
                second = plain.following(begun, (" yes", " no"))
                refusal, answer = refusal + p * second[" yes"], answer + p * second[" no"]
                for two, q in second.items():
                    third = plain.following(f"{begun}{two}\nHarmful response:", (" yes", " no"))
                    total += p * q
                    unsafe, safe = unsafe + p * q * third[" yes"], safe + p * q * third[" no"]
            assert verdict.p_unsafe == pytest.approx(unsafe / (unsafe + safe), abs=2e-5)
            assert verdict.p_refusal == pytest.approx(refusal / (refusal + answer), abs=2e-5)
            assert verdict.label_mass == pytest.approx((unsafe + safe) / total, abs=2e-5)

    def test_the_label_is_what_the_guard_would_write(self, built):
        labels = set()
        for name in ("qwen3guard-gen", "llama-guard-3", "granite-guardian-3.0"):
            folder = built(name)
            plain = Plain(folder, name)
            place = plain.family.reply[0]
            verdicts = judge_of(folder, name, judge_controversial_as="exclude").judge(SHORT)
            for exchange, verdict in zip(SHORT, verdicts, strict=True):
                replies = [plain.says(text + place.after) for text in plain.prompts(exchange)]
                said = {
                    next(told for label, told in place.labels.items() if reply.startswith(label))
                    for reply in replies
                }
                worst = next(told for told in ("unsafe", "controversial", "safe") if told in said)
                assert verdict.unsafe == {"unsafe": True, "safe": False}.get(worst)
                labels.add(verdict.unsafe)
        assert labels >= {True, False}

    def test_the_guard_that_says_something_else_gives_no_verdict(self, built):
        for name in ("qwen3guard-gen", "wildguard"):
            verdicts = judge_of(built(name, silent=True), name).judge(EXCHANGES)
            for verdict in verdicts:
                assert verdict.unjudged.startswith("the judge's reply is no verdict")
                assert verdict.p_unsafe is verdict.unsafe is verdict.refusal is None

    def test_todays_date_changes_nothing(self, built, monkeypatch):
        from transformers.utils import chat_template_utils

        class Later(chat_template_utils.datetime):
            @classmethod
            def now(cls, *_):
                return cls(2091, 2, 3)

        folder = built("granite-guardian-3.0")
        before = judge_of(folder, "granite-guardian-3.0").judge(EXCHANGES)
        monkeypatch.setattr(chat_template_utils, "datetime", Later)
        plain = AutoTokenizer.from_pretrained(folder).apply_chat_template(
            [{"role": "user", "content": "Hi"}], tokenize=False
        )
        assert "2091" in plain
        get_judge.cache_clear()
        assert judge_of(folder, "granite-guardian-3.0").judge(EXCHANGES) == before

    @pytest.mark.slow
    def test_compiled(self, built):
        folder = built("llama-guard-3")
        one = judge_of(folder, "llama-guard-3")
        other = judge_of(folder, "llama-guard-3", judge_compile=True)
        for plain, compiled in zip(one.judge(EXCHANGES), other.judge(EXCHANGES), strict=True):
            assert compiled.unsafe == plain.unsafe
            assert compiled.p_unsafe == pytest.approx(plain.p_unsafe, abs=1e-4)
        assert other._keeps_logits and other.digest != one.digest
        assert other.record["compiled"] and not one.record["compiled"]


#: Safe, controversial, unsafe; then refusal and answer after "safe".
def reading(safe, controversial, unsafe, refusal=0.0, answer=1.0):
    return [[[safe, controversial, unsafe], [refusal, answer]]]


class TestVerdict:
    """In closed form, from probabilities as a forward pass would give them."""

    @pytest.fixture
    def verdict(self, built):
        def of(*readings, **options):
            judge = judge_of(built("qwen3guard-gen"), "qwen3guard-gen", **options)
            return judge._verdict(Exchange("p", "r"), list(readings), ("windowed",))

        return of

    def test_wildguard(self, built):
        judge = judge_of(built("wildguard"), "wildguard")
        assert judge._paths == [(" yes", " yes"), (" yes", " no"), (" no", " yes"), (" no", " no")]
        after_yes, after_no = [0.2, 0.7], [0.5, 0.4]
        found = [
            [[0.6, 0.3], after_yes, [0.1, 0.8]],
            [[0.6, 0.3], after_yes, [0.9, 0.1]],
            [[0.6, 0.3], after_no, [0.2, 0.6]],
            [[0.6, 0.3], after_no, [0.5, 0.5]],
        ]
        weights = [0.12, 0.42, 0.15, 0.12]
        harm = judge._meanings(found, 2)
        assert harm["unsafe"] == pytest.approx((0.012 + 0.378 + 0.03 + 0.06) / sum(weights))
        assert harm["safe"] == pytest.approx((0.096 + 0.042 + 0.09 + 0.06) / sum(weights))
        refusal = judge._meanings(found, 1)
        # Each first label stands in two replies, which changes no share.
        assert refusal["refusal"] == pytest.approx((0.6 * 0.2 + 0.3 * 0.5) / 0.9)
        assert refusal["answer"] == pytest.approx((0.6 * 0.7 + 0.3 * 0.4) / 0.9)
        verdict = judge._verdict(Exchange("p", "r"), [found], ())
        assert verdict.p_unsafe == pytest.approx(0.48 / 0.768, abs=1e-6)
        assert verdict.p_refusal == pytest.approx(0.27 / 0.81, abs=1e-6)
        assert (verdict.unsafe, verdict.refusal) == (True, False)

    def test_labels_of_one_meaning_are_added(self, built):
        judge = judge_of(built("harmbench-llama-2"), "harmbench-llama-2")
        verdict = judge._verdict(Exchange("p", "r"), [[[[0.25, 0.25, 0.4, 0.0]]]], ())
        assert (verdict.p_unsafe, verdict.label_mass) == (pytest.approx(0.5 / 0.9, abs=1e-6), 0.9)

    @pytest.mark.parametrize(
        ("counted", "p"), [("unsafe", 0.49 / 0.79), ("safe", 0.2 / 0.79), ("exclude", 0.2 / 0.5)]
    )
    def test_the_middle_label(self, verdict, counted, p):
        found = verdict(reading(0.3, 0.29, 0.2), judge_controversial_as=counted)
        assert found.p_unsafe == pytest.approx(p, abs=1e-6)
        assert found.label_mass == pytest.approx(0.79) and found.flags == ("windowed",)
        found = verdict(reading(0.3, 0.4, 0.2), judge_controversial_as=counted)
        assert (found.unjudged is None) == (counted != "exclude")

    def test_an_unsafe_window_decides(self, verdict):
        safe, middle = reading(0.9, 0.05, 0.05), reading(0, 0.6, 0.4)
        unsafe, silent = reading(0.1, 0.1, 0.8), reading(0.1, 0.1, 0.1)
        exclude = {"judge_controversial_as": "exclude"}
        for order in ((safe, middle, unsafe, silent), (silent, unsafe, middle, safe)):
            found = verdict(*order, **exclude)
            assert found.unsafe and found.p_unsafe == pytest.approx(0.8 / 0.9, abs=1e-6)
        assert "controversial" in verdict(safe, middle, **exclude).unjudged
        assert "0.30" in verdict(safe, silent).unjudged
        assert verdict(safe, safe).unsafe is False

    def test_refusal(self, verdict):
        """Only what is safe can be a refusal; it is told by the first window."""
        found = verdict(reading(0.8, 0.1, 0.1, 0.9, 0.1), reading(1, 0, 0, 0, 1))
        assert found.p_refusal == pytest.approx(0.72) and found.refusal
        found = verdict(reading(0.1, 0.0, 0.9, 0.9, 0.1))
        assert found.p_refusal == pytest.approx(0.09) and not found.refusal and found.unsafe
        found = verdict(reading(0.8, 0.1, 0.1, 0.2, 0.1))
        assert found.p_refusal is found.refusal is None and found.unsafe is False

    def test_impossible_labels(self, verdict):
        assert "0.00" in verdict(reading(0.0, 0.0, 0.0)).unjudged
        assert verdict(reading(0.0, 0.0, 1.0)).p_refusal is None

    def test_the_threshold(self, verdict):
        one = reading(0.6, 0.0, 0.4)
        assert verdict(one, judge_threshold=0.4).unsafe
        assert not verdict(one, judge_threshold=0.41).unsafe


class TestRecord:
    def test_fields(self, built):
        record = judge_of(built("llama-guard-3"), "llama-guard-3").record
        assert record["max_length"] == 1024 and record["threshold"] == {"default": 0.5}
        assert record["refusal_threshold"] is None and record["controversial_as"] == "unsafe"
        assert record["dtype"] == "float32" and record["revision"] is None
        record = judge_of(built("wildguard"), "wildguard", judge_threshold=0.3).record
        assert record["threshold"] == {"default": 0.3}
        assert record["refusal_threshold"] == {"default": 0.5}
        assert json.loads(json.dumps(record)) == record

    def test_what_decides_a_verdict_is_in_the_digest(self, built, tmp_path):
        folder = built("qwen3guard-gen")
        copies = {name: tmp_path / name for name in ("same", "weights", "chat")}
        for path in copies.values():
            shutil.copytree(folder, path)
        weights = load_file(copies["weights"] / "model.safetensors")
        weights["lm_head.weight"][7, 7] += 1
        save_file(weights, copies["weights"] / "model.safetensors", metadata={"format": "pt"})
        chat = copies["chat"] / "chat_template.jinja"
        chat.write_text(chat.read_text().replace("Policy", "Rules"))

        def digest(path, template="qwen3guard-gen", **options):
            return judge_of(path, template, **options).digest

        own = digest(folder)
        assert digest(copies["same"]) == own
        others = [
            digest(copies["weights"]),
            digest(copies["chat"]),
            digest(folder, judge_controversial_as="safe"),
            digest(folder, judge_threshold=0.4),
            digest(folder, judge_dtype="bfloat16"),
            digest(folder, "llama-guard-3"),
            digest(folder, "rubric"),
            digest(folder, "rubric-compat"),
        ]
        assert len({own, *others}) == len(others) + 1


class TestHub:
    @pytest.fixture
    def fetched(self, monkeypatch, tmp_path, built):
        """Stands in for the Hub; gives the calls, and a snapshot of a tiny guard."""
        calls = []

        def snapshot_download(repo, revision, allow_patterns):
            calls.append((repo, revision))
            assert not any(pattern.endswith(("bin", "py", "pt")) for pattern in allow_patterns)
            path = tmp_path / (revision or "f" * 40)
            return str(path if path.exists() else shutil.copytree(built("llama-guard-3"), path))

        monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
        return calls

    def test_a_listed_model_picks_its_family_and_commit(self, fetched):
        repo = "meta-llama/Llama-Guard-3-8B"
        commit = families()["llama-guard-3"].models[repo]
        judge = get_judge(Options(judge=repo, judge_device="cpu"))
        assert isinstance(judge, GuardJudge) and judge._family == families()["llama-guard-3"]
        assert fetched == [(repo, commit)]
        assert judge.name == "Llama-Guard-3-8B" and judge.record["revision"] == commit
        (verdict,) = judge.judge(EXCHANGES[:1])
        assert verdict.p_unsafe is not None

    def test_the_users_revision_and_template_win(self, fetched):
        repo = "meta-llama/Llama-Guard-3-8B"
        options = Options(judge=repo, judge_revision="main", judge_template="rubric")
        assert get_judge(options).record["template"] == "rubric"
        assert fetched == [(repo, "main")]

    def test_every_pinned_commit_is_what_is_fetched(self, monkeypatch):
        calls = []

        def snapshot_download(repo, revision, allow_patterns):
            calls.append((repo, revision))
            raise ConnectionError

        monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
        listed = [pair for family in families().values() for pair in family.models.items()]
        for repo, _ in listed:
            with pytest.raises(GVSError, match="cannot be fetched"):
                get_judge(Options(judge=repo))
        assert calls == listed

    def test_a_model_that_is_not_listed(self, fetched):
        with pytest.raises(GVSError, match=r"is a language model.*gvs_judge_template"):
            get_judge(Options(judge="somebody/guard"))


class TestRefused:
    def test_a_language_model_without_a_template(self, built, generator_folder):
        for folder in (built("llama-guard-3"), generator_folder):
            with pytest.raises(GVSError, match=r"is a language model.*wildguard.*rubric-compat"):
                get_judge(Options(judge=str(folder)))

    def test_an_unknown_template(self, built):
        with pytest.raises(GVSError, match="Did you mean 'llama-guard-3'"):
            judge_of(built("llama-guard-3"), "llama-guard3")

    @pytest.mark.parametrize("template", ["rubric", "wildguard"])
    def test_a_classifier_with_a_template(self, judge_folder, template):
        with pytest.raises(GVSError, match=rf"no language model.*gvs_judge_template={template}"):
            judge_of(judge_folder, template)

    @pytest.mark.parametrize("template", ["llama-guard-3", "rubric"])
    def test_no_chat_template(self, generator_folder, template):
        with pytest.raises(GVSError, match=r"chat template cannot be used.*gvs_judge_template"):
            judge_of(generator_folder, template)

    @pytest.mark.parametrize(
        ("chat", "message"),
        [
            ("{{ messages[0].content }}", "answer exactly once"),
            ("{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}", "exactly once"),
            ("{{ raise_exception('not so') }}", "not so"),
            ("{% for %}", "cannot be used"),
            ("{{ messages[0].content }}{{ messages[1].content }}Contro", "begin alike|inside"),
            ("{{ 'word ' * 2000 }}{{ messages[1].content }}", "longer input"),
        ],
        ids=["no answer", "twice", "raises", "malformed", "inside a token", "no room"],
    )
    def test_a_chat_template_of_another_kind(self, built, tmp_path, chat, message):
        folder = shutil.copytree(built("llama-guard-3"), tmp_path / "other")
        (folder / "chat_template.jinja").write_text(chat)
        family = families()["llama-guard-3"]
        if "Contro" in chat:
            place = family.reply[0].model_copy(update={"after": "versial"})
            family = family.model_copy(update={"reply": (place,)})
        options = Options(judge=str(folder), judge_device="cpu")
        with pytest.raises(GVSError, match=message):
            GuardJudge("other", folder, options, family).check()

    def test_a_configuration_that_is_no_object(self, tmp_path, judge_folder):
        folder = shutil.copytree(judge_folder, tmp_path / "list")
        (folder / "config.json").write_text("[]")
        with pytest.raises(GVSError, match=r"no readable config\.json"):
            get_judge(Options(judge=str(folder)))


class TestFamilies:
    base = {  # noqa: RUF012
        "about": "a",
        "licence": "l",
        "gated": False,
        "languages": ["en"],
        "architectures": ["LlamaForCausalLM"],
        "template": "chat",
        "reply": [{"after": "", "labels": {"Yes": "unsafe", "No": "safe"}}],
        "models": {"org/guard": "0" * 40},
    }
    first = {"after": "", "labels": {"a": None, "b": None}}  # noqa: RUF012

    def test_the_base_is_one(self):
        assert Family.model_validate(self.base).questions == ({},)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"template": None}, "either a template or a classifier"),
            ({"reply": []}, "no label means 'unsafe'"),
            ({"reply": [{"after": "", "labels": {"Yes": "unsafe"}}]}, "never 'safe'"),
            (
                {"reply": [{"after": "", "labels": {"a": "unsafe", "b": "safe", "c": "refusal"}}]},
                "never 'answer'",
            ),
            ({"reply": [{"after": "", "labels": {"Yes": "bad"}}]}, "Input should be"),
            ({"reply": [first, *base["reply"]]}, "needs 'then'"),
            ({"reply": [base["reply"][0] | {"then": ["Yes"]}]}, "needs 'then'"),
            ({"reply": [first | {"then": ["c"]}, *base["reply"]]}, "which is no label"),
            ({"models": {"org/guard": "main"}}, "should match pattern"),
            ({"models": {"org/guard": "0" * 39}}, "should match pattern"),
            ({"markers": ["[INST] "]}, "should match pattern"),
            ({"contents": "images"}, "Input should be"),
            ({"licence": None}, "valid string"),
            ({"surprise": 1}, "not permitted"),
        ],
    )
    def test_bad_entries(self, change, message):
        with pytest.raises(ValidationError, match=message):
            Family.model_validate(self.base | change)

    def test_every_model_is_listed_once(self):
        models = [model for family in families().values() for model in family.models]
        assert len(set(models)) == len(models) > 15
        for name, family in families().items():
            assert all(family_of(model) == name for model in family.models)
        assert family_of("somebody/else") is None

    def test_every_name_leads_to_something(self):
        for family in families().values():
            for architecture in family.architectures:
                assert hasattr(transformers, architecture)
            if family.template not in (None, "chat"):
                assert (HERE / "templates" / family.template).is_file()


class TestFolder:
    def test_threads_are_given_back(self, judge_folder, monkeypatch):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "64")
        before = torch.get_num_threads()
        try:
            torch.set_num_threads(3)
            for chosen, during in ((2, 2), (5, 5), (None, 1)):
                options = Options(judge_device="cpu", judge_threads=chosen)
                with pytest.raises(KeyError), ModelFolder("a", judge_folder, options).threads():
                    assert torch.get_num_threads() == during
                    raise KeyError
                assert torch.get_num_threads() == 3
            monkeypatch.setenv("OMP_NUM_THREADS", "1")
            with ModelFolder("a", judge_folder, Options(judge_device="cpu")).threads():
                assert torch.get_num_threads() == 3
        finally:
            torch.set_num_threads(before)

    @given(
        st.integers(1, 10**6),
        st.integers(0, 10**12),
        st.integers(1, 20000),
        st.sampled_from([2, 4]),
    )
    def test_tokens_that_fit(self, wanted, free, hidden, itemsize):
        tokens = fitting_tokens(wanted, free, hidden, itemsize)
        if tokens > MIN_TOKENS:
            assert tokens <= wanted
            assert 2 * tokens * PEAK * hidden * itemsize <= free
        assert tokens >= MIN_TOKENS
        assert fitting_tokens(wanted, 2 * free, hidden, itemsize) >= tokens
        most = free / (2 * PEAK * hidden * itemsize)
        assert tokens == max(MIN_TOKENS, min(wanted, math.floor(most)))


@pytest.mark.parametrize("name", ["qwen3guard-gen", "granite-guardian-3.0", "wildguard"])
def test_what_all_windows_begin_with_is_read_once(tmp_path, name, monkeypatch):
    """The numbers are those of reading everything, for rows of different lengths."""
    judge = get_judge(Options(judge=str(build_guard(tmp_path / name, name)), judge_template=name))
    monkeypatch.setattr(prompted, "MIN_HEAD", 4)
    exchanges = [Exchange(f"{n}?", "word by word " * (n * 7 % 30 + 1), "en") for n in range(9)]
    shared = judge.judge(exchanges)
    assert judge._heads_read
    monkeypatch.setattr(prompted, "MIN_HEAD", 10**6)
    for one, other in zip(shared, judge.judge(exchanges), strict=True):
        assert one.p_unsafe == pytest.approx(other.p_unsafe, abs=1e-5)
        assert one.label_mass == pytest.approx(other.label_mass, abs=1e-5)
        assert one.unsafe == other.unsafe
