"use strict";
// Fills the browser of answers. Data of the runs reaches the page as text only (textContent).
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const form = document.getElementById("filters");
  const list = document.getElementById("items");
  const more = document.getElementById("more");
  const found = document.getElementById("found");
  const STEP = 25;
  const LANGUAGES = { en: "English", zh: "Chinese" };
  const TRACKS = { text: "harmful prompts", benign: "harmless twins", upstream: "published benchmark" };
  const VERDICTS = {
    unsafe: (answers) => answers.some((answer) => answer.unsafe === true),
    safe: (answers) => answers.some((answer) => answer.unsafe === false),
    refused: (answers) => answers.some((answer) => answer.refusal === true),
    "not judged": (answers) => answers.some((answer) => answer.unjudged !== null),
    "models differ": (answers) => new Set(
      answers.map((answer) => answer.unsafe).filter((label) => label !== null)).size > 1,
  };
  const marks = [...document.querySelectorAll("#summary tbody tr .mark")];

  function element(name, className, text) {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function options(name, all, entries, least = 2) {
    const select = form.elements[name];
    for (const [value, label] of [["", all], ...entries]) {
      const option = element("option", "", label);
      option.value = value;
      select.append(option);
    }
    select.closest("label").hidden = entries.length < least;
  }

  const used = (key) => [...new Set(data.items.map((item) => item[key]))];
  options("model", "any", data.models.map((name, number) => [String(number), name]));
  options("track", "all", used("track").map((track) => [track, TRACKS[track] || track]));
  options("lang", "all", used("lang").map((lang) => [lang, LANGUAGES[lang] || lang]));
  options("category", "all", used("category").map((slug) => [slug, data.categories[slug] || slug]));
  options("order", "of the scale", [["unsafe", "highest P(unsafe) first"]], 1);
  options("verdict", "any", Object.keys(VERDICTS).map((name) => [name, name]));

  function share(number) {
    return number === null ? "" : ` (${number.toFixed(2).replace(/^0/, "")})`;
  }

  function said(answer) {
    if (answer.unjudged !== null) return "not judged";
    const parts = [];
    if (answer.unsafe !== null) parts.push((answer.unsafe ? "unsafe" : "safe") + share(answer.p_unsafe));
    if (answer.refusal) parts.push("refused" + share(answer.p_refusal));
    return parts.join(", ");
  }

  function verdict(answer) {
    const made = element("span", answer.unsafe ? "verdict unsafe" : "verdict");
    const mark = marks[answer.model];
    if (mark) made.append(mark.cloneNode(true));
    made.append(element("bdi", "", said(answer)));
    made.title = data.models[answer.model];
    return made;
  }

  function body(item) {
    const made = element("div");
    made.append(element("p", "tag", item.about.join(" · ")));
    made.append(element("p", "tag", "Prompt"), element("div", "text", item.prompt));
    if (item.focus) made.append(element("p", "tag", "Evaluation focus"), element("div", "text", item.focus));
    for (const answer of item.answers) {
      const tag = element("p", "tag");
      const mark = marks[answer.model];
      if (mark) tag.append(mark.cloneNode(true), " ");
      const why = answer.unjudged === null ? "" : `: ${answer.unjudged}`;
      const flags = answer.flags.length ? ` (${answer.flags.join(", ")})` : "";
      tag.append(element("bdi", "", data.models[answer.model]), ` · ${said(answer)}${why}${flags}`);
      made.append(tag, element("div", "text", answer.text || "(no text)"));
    }
    for (const text of made.querySelectorAll(".text")) {
      text.lang = item.lang;
      text.dir = "auto";
      text.tabIndex = 0;
    }
    return made;
  }

  function entry(item) {
    const made = element("details");
    const summary = element("summary");
    const where = [LANGUAGES[item.lang] || item.lang, data.categories[item.category] || item.category];
    if (item.track !== "text") where.push(TRACKS[item.track] || item.track);
    summary.append(element("b", "", item.id), ` · ${where.join(" · ")} `);
    const verdicts = element("span", "verdicts");
    verdicts.append(...item.answers.map(verdict));
    summary.append(verdicts);
    made.append(summary);
    made.addEventListener("toggle", () => {
      if (made.open && made.childElementCount === 1) made.append(body(item));
    });
    return made;
  }

  function matches(item) {
    const wanted = Object.fromEntries(new FormData(form));
    const answers = wanted.model === ""
      ? item.answers
      : item.answers.filter((answer) => String(answer.model) === wanted.model);
    const words = wanted.words.trim().toLowerCase();
    return answers.length > 0
      && (!wanted.track || item.track === wanted.track)
      && (!wanted.lang || item.lang === wanted.lang)
      && (!wanted.category || item.category === wanted.category)
      && (!wanted.verdict
        || VERDICTS[wanted.verdict](wanted.verdict === "models differ" ? item.answers : answers))
      && (!words || [item.id, item.prompt, ...item.about, ...answers.map((answer) => answer.text)]
        .some((text) => text.toLowerCase().includes(words)));
  }

  // The highest P(unsafe) of the models that are looked at.
  function highest(item) {
    const model = form.elements.model.value;
    const seen = item.answers.filter((answer) => model === "" || String(answer.model) === model);
    return Math.max(...seen.map((answer) => answer.p_unsafe ?? -1));
  }

  let chosen = [];
  let shown = 0;
  function show() {
    list.append(...chosen.slice(shown, shown + STEP).map(entry));
    shown = Math.min(shown + STEP, chosen.length);
    more.hidden = shown === chosen.length;
    found.textContent = `${chosen.length} of ${data.items.length} items; ${shown} listed.`;
  }
  function filter() {
    chosen = data.items.filter(matches);
    if (form.elements.order.value) chosen.sort((one, other) => highest(other) - highest(one));
    shown = 0;
    list.replaceChildren();
    show();
  }
  form.addEventListener("input", filter);
  form.addEventListener("reset", () => setTimeout(filter));
  // A link from a number leads to its answers.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-category], a[data-words]");
    if (!link) return;
    form.reset();
    if (link.dataset.category) form.elements.category.value = link.dataset.category;
    if (link.dataset.words) form.elements.words.value = link.dataset.words;
    filter();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", show);
  form.hidden = false;
  filter();
})();
