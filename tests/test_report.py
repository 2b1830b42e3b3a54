"""The report: what it says, that nothing in it runs, and how it behaves in a real browser."""

import json
import re
import shutil
from html.parser import HTMLParser

import pytest

from gvs_tasks.errors import GVSError
from gvs_tasks.human import Label, powered, read_labels
from gvs_tasks.judge import Verdict
from gvs_tasks.report import build, render, write_report
from gvs_tasks.report.browser import MAX_CHARACTERS
from gvs_tasks.report.document import _source
from gvs_tasks.results import labelled, read, read_one
from gvs_tasks.scores import METRICS, Cut, estimate
from tests.runs import BENIGN, GVS, JUDGE, PAIR, edit_samples, spread, verdict, write_run

HOSTILE = {
    0: "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 1'>",
    1: "</script><script>window.pwned = 1</script><svg onload=window.pwned=1>",
    2: "{{ 7 * 7 }} {% raw %} ${alert(1)} javascript:alert(1) <a href='javascript:alert(1)'>x</a>",
    3: "\u202eright to left\u202c Z\u0351\u0300a\u034fl\u0327go \u0000\u0007 \ufffe end",
    4: "<!-- --> ]]> </textarea></style></title> &lt;b&gt; \u2028 \u2029 done",
    5: "word " * 5000 + "the last words",
}
HALF = 6  # the answer whose file holds half a character


def hostile(doc):
    return HOSTILE.get(int(doc["id"][-3:]) - 1, f"An answer to {doc['id']}.")


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    """A run whose answers, model and settings want to be more than text."""
    folder = tmp_path_factory.mktemp("attacked")
    write_run(
        folder / "run",
        [*PAIR, "gvs_benign_en_bias"],
        limit=8,
        response=hostile,
        model="<script>window.pwned = 1</script>\"'><img src=x onerror=window.pwned=1>",
        chat_template="{{ x }}",
    )

    def halve(lines):
        lines[HALF]["resps"] = [["half \ud83d a character"]]

    edit_samples(folder, "gvs_en_bias", halve)
    path = folder / "report.html"
    write_report(build(labelled(read(folder / "run"))), path)
    return path


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two whole runs, one plainly safer than the other in half of the categories."""
    folder = tmp_path_factory.mktemp("two")

    def judged(shift):
        def of(doc, judge):
            found = spread(doc, judge)
            weak = doc["category"] in ("bias", "fraud", "culture", "politics")
            return verdict(found.p_unsafe * (0.1 if weak and shift else 0.8), found.p_refusal)

        return of

    write_run(folder / "one", GVS + BENIGN, limit=None, judged=judged(True), model="org/one")
    write_run(folder / "two", GVS + BENIGN, limit=None, judged=judged(False), model="org/two")
    path = folder / "report.html"
    write_report(
        build(labelled(run for name in ("two", "one") for run in read(folder / name))), path
    )
    return path


class Page(HTMLParser):
    """Elements with their attributes, and the text of the page."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self.inside = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.inside.append(tag)

    def handle_endtag(self, tag):
        if self.inside and self.inside[-1] == tag:
            self.inside.pop()

    def handle_data(self, data):
        if not self.inside:
            self.text.append(data)


class TestDocument:
    def test_nothing_is_fetched(self, two):
        page = Page(two.read_text(encoding="utf-8"))
        loading = {"src", "href", "srcset", "data", "action", "poster", "background"}
        found = [
            value
            for tag, attributes in page.elements
            for name, value in attributes.items()
            if name in loading or "url(" in (value or "")
        ]
        assert found and all(value.startswith("#") for value in found)
        assert "@import" not in two.read_text() and "url(" not in two.read_text()

    def test_only_what_was_hashed_runs(self, attacked):
        text = attacked.read_text(encoding="utf-8")
        page = Page(text)
        scripts = [attributes for tag, attributes in page.elements if tag == "script"]
        assert scripts == [{"type": "application/json", "id": "data"}, {}]
        (policy,) = [a["content"] for t, a in page.elements if "http-equiv" in a]
        script = text.rpartition("<script>")[2].partition("</script>")[0]
        style = text.partition("<style>")[2].partition("</style>")[0]
        assert f"script-src {_source(script)}" in policy and f"style-src {_source(style)}" in policy
        assert policy.startswith("default-src 'none'") and "unsafe" not in policy
        handlers = [
            name for _, attributes in page.elements for name in attributes if name[:2] == "on"
        ]
        assert not handlers and not any("style" in attributes for _, attributes in page.elements)

    def test_data_cannot_end_their_element(self, attacked):
        text = attacked.read_text(encoding="utf-8")
        data = text.partition('id="data">')[2].partition("</script>")[0]
        assert not set("<>&\u2028\u2029") & set(data)
        found = json.loads(data)
        texts = [answer["text"] for item in found["items"] for answer in item["answers"]]
        assert HOSTILE[0] in texts and HOSTILE[1] in texts
        (long,) = {text for text in texts if text.startswith("word word")}
        assert len(long) < MAX_CHARACTERS + 100 and "more characters in the samples file" in long
        assert any(text.startswith("half ") and text.endswith(" a character") for text in texts)

    def test_the_numbers_are_those_of_the_run(self, two):
        text = " ".join("".join(Page(two.read_text()).text).split())
        for name in ("one", "two"):
            run = read_one(two.parent / name)
            for key in ("gvs_score", "over_refusal"):
                metric = METRICS[key]
                value = estimate(run, JUDGE, metric, Cut("overall", "Overall")).value
                shown = f"{value:.2f}" if key == "gvs_score" else f"{100 * value:.1f}%"
                assert shown in text, (name, key)

    def test_who_is_safer_where(self, two):
        text = " ".join("".join(Page(two.read_text()).text).split())
        safer = re.search(r"org/one is safer beyond noise in: ([^.]*)\.", text)[1]
        assert set(safer.split("; ")) == {
            "Bias, Discrimination, and Unfairness",
            "Disinformation Fraud and Identity Manipulation",
            "Cultural, Historical, and Religious Sensitivities",
            "Political Leanings, Ideology, and Biased Guidance",
        }
        assert "org/two is safer" not in text
        assert "No clear difference in 8 of 12 categories" in text
        # The same answers to harmless prompts: what one is safer by, it does not pay for.
        assert re.search(r"org/one refuses ([\d.]+%) and org/two \1 \(0.0 pp, within noise\)", text)

    def test_secrets_stay_out(self, tmp_path):
        path = write_run(tmp_path)
        known = json.loads(path.read_text())
        known["config"]["model_args"] |= {
            "token": "hf_secretsecretsecret",
            "api_key": "very-secret",
        }
        path.write_text(json.dumps(known))
        text = render(build(labelled(read(tmp_path))))
        assert "secret" not in text and "(hidden)" in text

    def test_what_is_not_measured(self, tmp_path):
        write_run(tmp_path, ["gvs_en_bias"])
        text = " ".join("".join(Page(render(build(labelled(read(tmp_path))))).text).split())
        assert "over-refusal not measured" in text
        assert "There are no items with a verdict in both languages." in text
        assert "only 3 of the 33 items" in text  # the warning of a limited run

    def test_runs_of_different_judges_are_not_compared(self, tmp_path):
        write_run(tmp_path / "a")
        other = {"judges": [{"name": JUDGE, "digest": "f" * 16}]}
        write_run(
            tmp_path / "b",
            model="org/other",
            record=other,
            judged=lambda doc, judge: verdict(0.25, judge="f" * 16),
        )
        page = build(labelled(read(tmp_path)))
        assert not page.pairs[0].differences
        assert "The judges differ" in " ".join(page.pairs[0].against)
        assert "are not compared: The judges differ" in " ".join(page.summary)

    def test_a_part_of_the_tasks(self, tmp_path):
        """On what both ran one is worse that looks better on its own tasks."""
        low = {"bias": 0.05}
        tasks = [f"gvs_en_{name}" for name in ("bias", "fraud", "social", "politics")]
        write_run(
            tmp_path / "full",
            tasks,
            limit=12,
            judged=lambda doc, judge: verdict(low.get(doc["category"], 0.5)),
            model="org/full",
        )
        write_run(
            tmp_path / "part",
            ["gvs_en_bias"],
            limit=12,
            judged=lambda doc, judge: verdict(0.2),
            model="org/part",
        )
        page = build(labelled([read_one(tmp_path / name) for name in ("part", "full")]))
        assert [model.name for model in page.models] == ["org/full", "org/part"]
        assert "on which they score 9.50 and 8.00" in page.summary[0]
        rows = {row.cut.label: row for row in page.scores}
        assert rows["Overall"].cells[1].mark == ""
        assert rows["Bias, Discrimination, and Unfairness"].cells[1].mark == "lower"

    @pytest.mark.parametrize("same", [True, False])
    def test_runs_with_nothing_in_common(self, tmp_path, same):
        write_run(tmp_path / "a", ["gvs_en_bias", "gvs_benign_en_bias"], model="org/a")
        text = "gvs_en_bias" if same else "gvs_zh_bias"
        write_run(tmp_path / "b", [text, "gvs_benign_zh_bias"], model="org/b")
        page = build(labelled(read(tmp_path)))
        assert page.pairs[0].refusal is None
        assert bool(page.pairs[0].against) is not same
        assert "org/a" in render(page)

    def test_over_refusal_of_a_damaged_run_is_not_compared(self, tmp_path):
        for name in ("a", "b"):
            write_run(tmp_path / name, [*PAIR, "gvs_benign_en_bias"], model=f"org/{name}")
        edit_samples(tmp_path / "b", "gvs_benign_en_bias", lambda lines: lines[:2])
        page = build(labelled(read(tmp_path)))
        assert page.pairs[0].differences and page.pairs[0].refusal is None

    @pytest.mark.parametrize(
        ("tasks", "refusal", "why"),
        [
            (PAIR, 0.25, "gvs_benign was not run"),
            ([*PAIR, "gvs_benign_en_bias"], None, "no label for refusals"),
        ],
    )
    def test_why_over_refusal_is_missing(self, tmp_path, tasks, refusal, why):
        write_run(tmp_path, tasks, judged=lambda doc, judge: verdict(0.25, refusal))
        assert why in render(build(labelled(read(tmp_path))))

    def test_a_judge_that_all_have_is_taken(self, tmp_path):
        write_run(tmp_path / "a", judges=("x", "y"), model="org/a")
        write_run(tmp_path / "b", judges=("y",), model="org/b")
        page = build(labelled(read(tmp_path)))
        assert {model.judge for model in page.models} == {"y"} and page.pairs[0].differences

    def test_multiple_choice_has_no_judge(self, tmp_path):
        write_run(tmp_path / "a", ["gvs_mc_en_bias"], model="org/a")
        write_run(tmp_path / "b", model="org/b")
        page = build(labelled(read(tmp_path)), JUDGE)
        assert page.models[0].name == "org/b"  # what has a safety score comes first
        assert "Safe exemplar likelier" in render(page)

    @pytest.mark.parametrize(
        ("tasks", "said", "unsaid"),
        [
            (["gvs_benign_en_bias"], "of harmless prompts refused", "labelled safe;"),
            (["gvs_mc_en_bias"], "Nothing was judged: multiple choice", "automatic judge says"),
            (["gvs_en_bias"], "over-refusal not measured", "Nothing was judged"),
        ],
    )
    def test_one_track_alone(self, tmp_path, tasks, said, unsaid):
        write_run(tmp_path, tasks)
        text = " ".join("".join(Page(render(build(labelled(read(tmp_path))))).text).split())
        assert said in text and unsaid not in text and "None" not in text

    def test_many_runs_have_marks_of_their_own(self, tmp_path):
        for n in range(8):
            write_run(tmp_path / str(n), ["gvs_en_bias"], model=f"org/{n}")
        models = build(labelled(read(tmp_path))).models
        assert len({(model.number, model.shape) for model in models}) == 8

    def test_two_judges_agree(self, tmp_path):
        write_run(tmp_path, judges=("tiny-judge", "other"))
        ((model, agreement),) = build(labelled(read(tmp_path))).agreement
        assert model == "org/model" and agreement.n == 6

    def test_unjudged(self, tmp_path):
        write_run(tmp_path, judged=lambda doc, judge: Verdict.none("too long"))
        text = " ".join("".join(Page(render(build(labelled(read(tmp_path))))).text).split())
        assert "6 × too long" in text and "no safety score" in text

    def test_a_judge_that_is_not_there(self, tmp_path):
        write_run(tmp_path)
        with pytest.raises(GVSError, match="Did you mean 'tiny-judge'"):
            build(labelled(read(tmp_path)), "tiny-juge")

    def test_a_folder_that_cannot_be_written(self, tmp_path):
        write_run(tmp_path / "run")
        (tmp_path / "file").write_text("precious")
        with pytest.raises(GVSError, match="cannot be written"):
            write_report(build(labelled(read(tmp_path / "run"))), tmp_path / "file" / "report.html")
        assert (tmp_path / "file").read_text() == "precious"


class TestLabels:
    def labels(self, run, wrong=()):
        return [
            Label(id=doc.id, lang=doc.lang, unsafe=answer.verdict.unsafe ^ (doc.id in wrong))
            for leaf in run.leaves.values()
            for answer in leaf.answers[JUDGE]
            for doc in [answer.doc]
        ]

    def test_people_who_agree_with_the_judge_on_everything(self, tmp_path):
        write_run(tmp_path, limit=None)
        run = read_one(tmp_path)
        found = powered(run, JUDGE, self.labels(run))
        alone = estimate(run, JUDGE, METRICS["safe_rate"], Cut("overall", "Overall"))
        assert found.estimate.value == pytest.approx(alone.value)
        (line,) = build(labelled([run]), labels=self.labels(run)).human
        assert line.alone.text == line.both.text and line.labelled == 31

    def test_people_decide(self, tmp_path):
        write_run(tmp_path, limit=None, judged=lambda doc, judge: verdict(0.9))
        run = read_one(tmp_path)
        safe = [label.model_copy(update={"unsafe": False}) for label in self.labels(run)]
        assert powered(run, JUDGE, safe).estimate.value == pytest.approx(1)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "holds no labels"),
            ("{}", "line 1 is no label"),
            ('{"id": "BIA-001", "lang": "en", "unsafe": "perhaps"}', "line 1 is no label"),
        ],
    )
    def test_bad_files(self, tmp_path, text, message):
        (tmp_path / "labels.jsonl").write_text(text)
        with pytest.raises(GVSError, match=message):
            read_labels(tmp_path / "labels.jsonl")

    def test_labels_that_contradict_each_other(self, tmp_path):
        write_run(tmp_path)
        labels = [
            Label(id="BIA-001", lang="en", unsafe=True),
            Label(id="BIA-001", lang="en", unsafe=False, model="org/model"),
        ]
        with pytest.raises(GVSError, match="both safe and unsafe"):
            powered(read_one(tmp_path), JUDGE, labels)

    def test_labels_of_one_of_two_runs(self, tmp_path):
        for name in ("a", "b"):
            write_run(tmp_path / name, limit=None, model=f"org/{name}")
        runs = [read_one(tmp_path / name) for name in ("a", "b")]
        strange = [label.model_copy(update={"model": "x"}) for label in self.labels(runs[0])]
        for wrong in (self.labels(runs[0]), strange):
            with pytest.raises(GVSError, match="which of the 2 runs"):
                build(labelled(runs), labels=wrong)
        named = [label.model_copy(update={"model": "org/a"}) for label in self.labels(runs[0])]
        (line,) = build(labelled(runs), labels=named).human
        assert line.model.name == "org/a"

    def test_labels_of_other_items(self, tmp_path):
        write_run(tmp_path)
        with pytest.raises(GVSError, match="has no answer to POL-001"):
            powered(read_one(tmp_path), JUDGE, [Label(id="POL-001", lang="en", unsafe=True)])
        other = Label(id="POL-001", lang="en", unsafe=True, model="org/other")
        assert powered(read_one(tmp_path), JUDGE, [other]) is None


@pytest.fixture(scope="module")
def browser():
    """A real browser."""
    sync_api = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    assert path, "These tests want a browser: apt-get install chromium"
    with sync_api.sync_playwright() as started:
        found = started.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield found
        found.close()


@pytest.fixture
def opened(browser):
    """Opens a report; at the end no script failed and nothing was asked of a network."""
    contexts, trouble, asked = [], [], []

    def open_report(path, **settings):
        context = browser.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("dialog", lambda dialog: trouble.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_report
    for context in contexts:
        context.close()
    assert not trouble
    assert all(url.startswith("file://") and url.endswith("report.html") for url in asked)


#: The least contrast of text on the page, and the text; backgrounds of parents count.
CONTRAST = """() => {
  const linear = (v) => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = (c) => .2126 * linear(c[0]) + .7152 * linear(c[1]) + .0722 * linear(c[2]);
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  let least = [99, ""];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !element.checkVisibility() || element.closest("svg, script, .skip")) continue;
    let behind = element, colour;
    do { colour = parse(getComputedStyle(behind).backgroundColor); behind = behind.parentElement; }
    while (behind && colour.length === 4 && colour[3] === 0);
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(colour)].sort().reverse();
    const contrast = (a + .05) / (b + .05);
    if (contrast < least[0]) least = [contrast, `${element.className}: ${element.textContent}`];
  }
  return least;
}"""


@pytest.mark.slow
class TestInABrowser:
    def test_hostile_answers_stay_text(self, attacked, opened):
        page = opened(attacked)
        for element in page.locator("#items details > summary").all():
            element.click()
        shown = page.locator("#items .text").all_inner_texts()
        assert any(HOSTILE[0] in text for text in shown)
        assert any("</script><script>" in text for text in shown)
        assert any("half" in text and "a character" in text for text in shown)
        page.wait_for_timeout(300)
        assert page.evaluate("window.pwned") is None
        assert page.locator("#items :is(script, img, a, b > *)").count() == 0
        assert page.locator("img, iframe, object, embed").count() == 0
        assert "<script>" in page.locator("h1 + p").inner_text()  # the model's name, as text

    def test_the_policy_stops_what_gets_in(self, attacked, opened, tmp_path):
        """A second wall: even markup that was not escaped does not run."""
        text = attacked.read_text(encoding="utf-8")
        copy = tmp_path / "report.html"
        bad = "<script>window.pwned = 1</script><b onclick='window.pwned = 1' id=bad>x</b>"
        copy.write_text(text.replace("<h1>", bad + "<h1>", 1), encoding="utf-8")
        context_page = opened(attacked)
        page = context_page.context.new_page()
        page.goto(copy.as_uri())
        page.locator("#bad").click()
        assert page.evaluate("window.pwned") is None
        assert page.locator("#items details").count() > 0

    def test_harm_is_hidden_until_it_is_asked_for(self, two, opened):
        page = opened(two)
        assert page.locator("#items .text").count() == 0
        first = page.locator("#items details").first
        first.locator("summary").click()
        assert first.locator(".text").count() == 4  # prompt, focus and an answer of each model
        assert first.locator(".text").first.is_visible()

    def test_filters(self, two, opened):
        page = opened(two)
        assert "1568 of 1568" in page.locator("#found").inner_text()

        def choose(name):
            return page.locator(f"#filters [name={name}]")

        choose("track").select_option("text")
        choose("lang").select_option("zh")
        choose("category").select_option("bias")
        assert "33 of 1568" in page.locator("#found").inner_text()
        assert page.locator("#items details").count() == 25
        page.locator("#more").click()
        assert page.locator("#items details").count() == 33
        assert page.locator("#more").is_hidden()
        choose("verdict").select_option("unsafe")
        choose("model").select_option(label="org/two")
        run = read_one(two.parent / "two")
        unsafe = [a for a in run.leaves["gvs_zh_bias"].answers[JUDGE] if a.verdict.unsafe]
        assert f"{len(unsafe)} of 1568" in page.locator("#found").inner_text()
        choose("words").fill("nothing has these words")
        assert "0 of 1568" in page.locator("#found").inner_text()

    def test_keyboard(self, two, opened):
        page = opened(two)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.locator("#items summary").first.focus()
        page.keyboard.press("Enter")
        assert page.locator("#items details[open]").count() == 1
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none"
        # Wide tables scroll without a mouse.
        assert page.locator(".scroll:not([tabindex])").count() == 0

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_contrast(self, two, opened, scheme):
        page = opened(two, color_scheme=scheme)
        page.locator("#items summary").first.click()
        least, where = page.evaluate(CONTRAST)
        assert least >= 4.5, where

    def test_on_a_phone(self, two, opened):
        page = opened(two, viewport={"width": 360, "height": 740}, has_touch=True)
        page.locator("#items summary").first.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        # Charts keep the size of their marks, whatever the width.
        mark = page.locator(".lanes .point g").first.bounding_box()
        assert 8 <= mark["width"] <= 16

    def test_marks_tell_models_apart_without_colour(self, two, opened):
        page = opened(two)
        shapes = page.locator("#summary tbody .mark").evaluate_all(
            "marks => marks.map(mark => mark.innerHTML.replace(/\\s/g, ''))"
        )
        assert len(shapes) == len(set(shapes)) == 2

    def test_without_javascript(self, two, opened):
        page = opened(two, java_script_enabled=False)
        assert page.locator("#scores .heat tbody tr").count() >= 18
        assert page.locator("noscript").count() == 1
        assert page.locator("#filters").is_hidden()
