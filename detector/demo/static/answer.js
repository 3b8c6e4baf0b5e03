// One answer in the list. All text is set as text: a file's name is never markup.

export function create(name, removed) {
  const item = document.getElementById("answer").content.firstElementChild.cloneNode(true);
  item.querySelector(".name").textContent = name;
  const button = item.querySelector(".remove");
  button.setAttribute("aria-label", `Remove ${name}`);
  button.addEventListener("click", removed);
  wait(item, "Waiting for its turn", false);
  return item;
}

export function wait(item, words, asking) {
  state(item, asking ? "asking" : "waiting", words);
}

export function fail(item, sentence) {
  state(item, "error", sentence);
}

// said: the answer of POST /api/predict. truth: REAL or FAKE, where it is known.
export function show(item, said, truth) {
  state(item, "done", "");
  item.dataset.verdict = said.verdict;
  text(item, ".verdict", called(said));
  text(item, ".meaning", said.meaning);
  text(item, ".truth", truth ? `In truth this sample is ${truth}.` : "");
  item.querySelector(".warnings ul").replaceChildren(
    ...said.warnings.map((warning) => {
      const line = document.createElement("li");
      line.textContent = warning;
      return line;
    }),
  );
  item.querySelector(".warnings").hidden = said.warnings.length === 0;
  scale(item, said);
  picture(item, "seen", said.seen, said.seen_caption);
  picture(item, "heat", said.heat, said.heat_caption);
  text(item, ".done", said.done);
}

// A verdict on an image unlike those that the model knows is marked, as on the command line.
export function called(said) {
  return said.verdict + (said.warnings.length ? "?" : "");
}

function state(item, name, words) {
  item.dataset.state = name;
  delete item.dataset.verdict;
  item.setAttribute("aria-busy", String(name === "waiting" || name === "asking"));
  text(item, ".state", words);
  item.querySelector(".body").hidden = name !== "done";
}

function scale(item, said) {
  const [low, high] = said.unsure ?? [said.threshold, said.threshold];
  place(item, ".fake-zone", 0, low);
  place(item, ".unsure-zone", low, high);
  place(item, ".real-zone", high, 1);
  place(item, ".threshold", said.threshold);
  place(item, ".needle", said.probability);
  text(item, ".key-threshold", said.threshold_sentence);
  text(item, ".key-unsure", said.unsure_sentence);
  const marks = [said.threshold_sentence, said.unsure_sentence].filter(Boolean).join(", ");
  item.querySelector(".bar").setAttribute("aria-label", `${said.probability_sentence} ${marks}.`);
  text(item, ".probability", said.probability_sentence);
  text(item, ".of-100", said.of_100_sentence);
}

// Positions are set by script: the page's policy allows no style in the markup.
function place(item, selector, from, to) {
  const { style } = item.querySelector(selector);
  style.setProperty("--at", `${100 * from}%`);
  if (to !== undefined) style.setProperty("--wide", `${100 * (to - from)}%`);
}

function picture(item, name, source, caption) {
  const image = item.querySelector(`.${name}`);
  image.src = source;
  image.alt = caption;
  text(item, `.${name}-caption`, caption);
}

function text(item, selector, words) {
  const element = item.querySelector(selector);
  element.textContent = words;
  element.hidden = !words;
}
