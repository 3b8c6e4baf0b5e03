// What can be done on the page: choose, drop, paste, try a sample, change the model, remove.
// Files are held by this tab alone, and are sent one at a time to the program that served it.
import { called, create, fail, show, wait } from "./answer.js";

const byId = (id) => document.getElementById(id);
const limits = {
  bytes: Number(document.body.dataset.maximumBytes),
  images: Number(document.body.dataset.maximumImages),
};
const RETRIES = 8;
const LATE = 3000; // milliseconds
const FIRST = "The first answer of a model takes the longest.";
const LONG = 5; // from so many images on only the sum is read out

// file: a Blob. truth: what a sample is, else undefined. by: the model that has answered or refused
// it. said: its answer. item: the <li>.
let entries = [];
let working = false;

function add(files, truth) {
  byId("note").hidden = true;
  const free = limits.images - entries.length;
  if (files.length > free) {
    tell(
      `The page holds ${limits.images} images; ${files.length - Math.max(0, free)} of these ` +
        `${files.length} were left out. 'python -m detector predict FOLDER' judges any number.`,
    );
  }
  const added = files.slice(0, Math.max(0, free)).map(({ file, name }) => {
    const entry = { file, name, truth, by: null, said: null };
    entry.item = create(name, () => remove(entry));
    return entry;
  });
  if (!added.length) return;
  byId("list").prepend(...added.map((entry) => entry.item));
  entries = [...added, ...entries];
  refresh();
  byId("answers").scrollIntoView({ block: "start" });
  work();
}

async function work() {
  if (working) return;
  working = true;
  try {
    for (let entry; (entry = entries.find((one) => one.by !== byId("model").value)); ) {
      await judge(entry, byId("model").value);
    }
  } finally {
    working = false;
  }
}

async function judge(entry, model) {
  wait(entry.item, "Looking at it …", true);
  const late = setTimeout(() => wait(entry.item, `Looking at it … ${FIRST}`, true), LATE);
  try {
    entry.said = await ask(entry.file, model);
    show(entry.item, entry.said, entry.truth);
  } catch (error) {
    entry.said = { error: error.message };
    fail(entry.item, error.message);
  } finally {
    clearTimeout(late);
  }
  entry.by = model;
  if (!entries.includes(entry)) return; // removed meanwhile
  refresh();
  announce(entry);
}

async function ask(file, model) {
  if (file.size > limits.bytes) {
    throw new Error(byId("allowed").dataset.tooLarge);
  }
  for (let attempt = 0; ; attempt++) {
    let reply;
    try {
      reply = await fetch(`/api/predict?model=${encodeURIComponent(model)}`, {
        method: "POST",
        headers: { "Content-Type": "application/octet-stream" },
        body: await file.arrayBuffer(), // fails for a folder, and for a file that is gone
        credentials: "omit",
      });
    } catch (error) {
      const gone = error instanceof DOMException;
      throw new Error(
        gone
          ? "This cannot be read. A folder has to be opened, and its images chosen."
          : "The program does not answer. It may have been ended in the terminal.",
      );
    }
    const seconds = reply.headers.get("Retry-After"); // too much is asked for just now
    if (seconds && attempt < RETRIES) {
      await new Promise((done) => setTimeout(done, 1000 * seconds));
      continue;
    }
    const said = await reply.json().catch(() => ({}));
    if (reply.ok) return said;
    throw new Error(said.error || `The program failed (${reply.status}); the terminal says why.`);
  }
}

function remove(entry) {
  const next = entries[entries.indexOf(entry) + 1] || entries[entries.indexOf(entry) - 1];
  entries = entries.filter((one) => one !== entry);
  entry.item.remove();
  refresh();
  (next ? next.item.querySelector(".remove") : byId("files")).focus();
}

function refresh() {
  byId("answers").hidden = entries.length === 0;
  byId("clear").hidden = entries.length < 2;
  byId("tally").textContent = entries.length < 2 ? "" : tally();
}

function tally() {
  const count = (verdict) => entries.filter((one) => one.said?.verdict === verdict).length;
  const parts = ["REAL", "FAKE", "UNSURE"].map((v) => [count(v), v]);
  parts.push([entries.filter((one) => one.said?.error).length, "without an answer"]);
  const open = entries.filter((one) => one.by !== byId("model").value).length;
  if (open) parts.push([open, "to come"]);
  const said = parts.filter(([n]) => n).map(([n, what]) => `${n} ${what}`);
  return `${entries.length} images: ${said.join(", ")}`;
}

function announce(entry) {
  const open = entries.some((one) => one.by !== byId("model").value);
  if (entries.length >= LONG) {
    if (!open) byId("status").textContent = tally();
    return;
  }
  const { said, name } = entry;
  const caution = said.warnings?.length ? " With caution: the image is unlike those it knows." : "";
  byId("status").textContent = said.error
    ? `${name}: ${said.error}`
    : `${name}: ${called(said)}; ${said.probability_sentence}${caution}`;
}

function tell(sentence) {
  byId("note").textContent = sentence;
  byId("note").hidden = false;
}

const named = (list) => Array.from(list, (file) => ({ file, name: file.name }));

byId("files").addEventListener("change", (event) => {
  add(named(event.target.files));
  event.target.value = ""; // so that the same file can be chosen again
});

document.addEventListener("paste", (event) => {
  const files = Array.from(event.clipboardData.files);
  if (files.length) add(files.map((file) => ({ file, name: "Pasted image" })));
  else tell("There is no image to paste: copy an image itself, not its link.");
});

// Anywhere on the page: a browser would open what is dropped beside the field.
let depth = 0;
const over = (change) => {
  depth = Math.max(0, depth + change);
  byId("drop").classList.toggle("over", depth > 0);
};
document.addEventListener("dragenter", () => over(1));
document.addEventListener("dragleave", () => over(-1));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  over(-depth);
  if (event.dataTransfer.files.length) add(named(event.dataTransfer.files));
  else tell("That is a link, and this page loads nothing from elsewhere: save the image first.");
});

for (const button of document.querySelectorAll("[data-sample]")) {
  button.addEventListener("click", async () => {
    const name = `Sample ${button.dataset.sample}`;
    const reply = await fetch(button.querySelector("img").src).catch(() => null);
    if (reply?.ok) add([{ file: await reply.blob(), name }], button.dataset.truth);
    else tell("The program does not answer. It may have been ended in the terminal.");
  });
}

function modelChanged() {
  for (const part of document.querySelectorAll("[data-of-model]")) {
    part.hidden = part.dataset.ofModel !== byId("model").value;
  }
  for (const entry of entries) wait(entry.item, "Waiting for its turn", false);
  refresh();
  work();
}
byId("model").addEventListener("change", modelChanged);

byId("clear").addEventListener("click", () => {
  for (const entry of entries) entry.item.remove();
  entries = [];
  refresh();
  byId("files").focus();
});
modelChanged(); // a browser may remember another choice than the first
