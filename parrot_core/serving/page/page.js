"use strict";

// One conversation with the model behind this page, by the same interface as any other program.

const at = (id) => document.getElementById(id);
const svgSpace = "http://www.w3.org/2000/svg";
const firstLanguages = ["en", "zh", "pt", "ar", "tr", "ru"];
// Okabe and Ito's palette, made for colour-blind readers, without its black.
const expertColours = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"];

let model = null; // as /v1/models describes it
let languages = new Map();
let picture = null; // {name, url}: what the next question shows
let pictureSent = false; // whether the conversation has it already
let messages = []; // what was said, in the words of the interface
let running = null; // the AbortController of the answer under way

function say(problem) {
  at("problem").textContent = problem;
}

function headers() {
  const key = at("key").value;
  return {
    "Content-Type": "application/json",
    ...(key ? { Authorization: `Bearer ${key}` } : {}),
  };
}

async function explain(response) {
  if (response.status === 401) {
    at("key-row").hidden = false;
    at("key").focus();
  }
  try {
    return (await response.json()).error.message;
  } catch {
    return `the server answers with status ${response.status}`;
  }
}

async function loadModel() {
  const response = await fetch("v1/models", { headers: headers() });
  if (!response.ok) throw new Error(await explain(response));
  model = (await response.json()).data[0];
  at("model").textContent = model.id;
  const known = model.parrot.languages;
  known.sort((a, b) => rank(a) - rank(b));
  languages = new Map(known.map((row) => [row.code, row]));
  const before = at("language").value || navigator.language.slice(0, 2);
  at("language").replaceChildren(...known.map((row) => {
    const option = new Option(row.name, row.code);
    option.lang = row.code;
    return option;
  }));
  at("language").value = languages.has(before) ? before : "en";
  propose();
  at("key-row").hidden = true;
  say("");
}

// Questions to begin with, in the language of the answer.
function propose() {
  const language = languages.get(at("language").value);
  at("proposals").lang = language.code;
  at("proposals").dir = language.right_to_left ? "rtl" : "ltr";
  at("proposals").replaceChildren(...language.questions.map((question) => {
    const button = element("button", { type: "button" }, question);
    button.addEventListener("click", () => {
      at("question").value = question;
      ask();
    });
    return element("li", {}, button);
  }));
}

function rank(row) {
  const place = firstLanguages.indexOf(row.code);
  return place < 0 ? firstLanguages.length : place;
}

function usePicture(file) {
  if (!file) return;
  if (!file.type.startsWith("image/")) {
    say(`${file.name} is no picture.`);
    return;
  }
  // Base64 makes four letters of three bytes, and the question needs some room too.
  const most = model ? Math.floor((model.parrot.body_bytes - 65536) * 3 / 4) : Infinity;
  if (file.size > most) {
    say(`${file.name} is larger than ${Math.floor(most / 2 ** 20)} MiB.`);
    return;
  }
  const reader = new FileReader();
  reader.onerror = () => say(`${file.name} cannot be read.`);
  reader.onload = () => {
    picture = { name: file.name || "pasted picture", url: reader.result };
    pictureSent = false;
    at("preview").src = picture.url;
    at("preview").alt = picture.name;
    at("preview").hidden = false;
    at("icon").toggleAttribute("hidden", true);
    at("remove").hidden = false;
    at("invitation").textContent = `${picture.name}: drop or choose another to change it`;
    at("status").textContent = `${picture.name} is shown with the next question`;
    say("");
    at("question").focus();
  };
  reader.readAsDataURL(file);
}

function removePicture() {
  picture = null;
  at("file").value = "";
  at("preview").hidden = true;
  at("icon").toggleAttribute("hidden", false);
  at("remove").hidden = true;
  at("invitation").textContent = "Drop a picture here, paste one, or choose a file";
}

function startAnew() {
  if (running) running.abort();
  messages = [];
  pictureSent = false;
  at("turns").replaceChildren();
  at("status").textContent = "A new conversation";
  say("");
  at("question").focus();
}

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// Whether the end of the conversation is in sight, so that it should stay there as it grows.
function isAtEnd() {
  const page = document.scrollingElement;
  return page.scrollHeight - page.scrollTop - page.clientHeight < 80;
}

function scrollToEnd() {
  document.scrollingElement.scrollTop = document.scrollingElement.scrollHeight;
}

function drawTurn(question, language, shown) {
  const asked = element("p", { className: "asked", dir: "auto" });
  if (shown) asked.append(element("img", { src: shown.url, alt: shown.name }));
  asked.append(question);
  const answer = element("p", {
    className: "answer",
    lang: language.code,
    dir: language.right_to_left ? "rtl" : "ltr",
  });
  answer.setAttribute("aria-busy", "true");
  const turn = element("li", {}, asked, answer);
  at("turns").append(turn);
  scrollToEnd();
  return { turn, answer };
}

function shape(name, attributes, ...children) {
  const made = document.createElementNS(svgSpace, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  made.append(...children);
  return made;
}

// A bar for each expert; the dashed line is the share that each would have if all were alike.
function drawRouting(turn, weights) {
  const most = Math.max(...weights);
  const fair = 100 / weights.length / most;
  const rows = weights.map((weight, number) => {
    const name = model.parrot.experts[number];
    const colour = expertColours[number % expertColours.length];
    const bar = shape("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": true },
      shape("rect", { width: 100 * weight / most, height: 10, fill: colour }),
      shape("line", { x1: fair, x2: fair, y2: 10 }));
    return element("tr", {},
      element("th", { scope: "row" }, `Expert ${number + 1}${name ? ` (${name})` : ""}`),
      element("td", {}, bar),
      element("td", {}, `${(100 * weight).toFixed(1)} %`));
  });
  turn.append(element("table", { className: "routing" },
    element("caption", {}, "Which experts looked at the picture for this question"),
    element("tbody", {}, ...rows)));
}

function remark(turn, text) {
  turn.append(element("p", { className: "remark" }, text));
}

// Yields the documents of a stream of server-sent events.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    waiting += value;
    const parts = waiting.split("\n\n");
    waiting = parts.pop();
    for (const part of parts) {
      const data = part.replace(/^data: /, "");
      if (data === "[DONE]") return;
      yield JSON.parse(data);
    }
  }
}

async function ask() {
  const question = at("question").value.trim();
  if (!question || running) return;
  say("");
  try {
    if (!model) await loadModel();
  } catch (error) {
    say(error.message);
    return;
  }
  const language = languages.get(at("language").value);
  const shown = picture && !pictureSent ? picture : null;
  const content = shown
    ? [{ type: "image_url", image_url: { url: shown.url } }, { type: "text", text: question }]
    : question;
  const { turn, answer } = drawTurn(question, language, shown);
  running = new AbortController();
  at("ask").disabled = true;
  at("stop").hidden = false;
  at("status").textContent = "Answering";
  let text = "";
  let stopped = false;
  try {
    const response = await fetch("v1/chat/completions", {
      method: "POST",
      headers: headers(),
      signal: running.signal,
      body: JSON.stringify({
        model: model.id,
        messages: [...messages, { role: "user", content }],
        stream: true,
        parrot: { language: language.code },
      }),
    });
    if (!response.ok) throw new Error(await explain(response));
    at("question").value = "";
    for await (const event of events(response.body)) {
      if (event.error) throw new Error(event.error.message);
      const follows = isAtEnd();
      const choice = event.choices[0];
      const routing = event.parrot && event.parrot.routing;
      if (routing && routing.length) drawRouting(turn, routing[routing.length - 1]);
      if (choice && choice.delta.content) {
        text += choice.delta.content;
        answer.textContent = text;
        answer.dir = "auto"; // its own, whatever language was asked for
      }
      if (choice && choice.finish_reason === "length") remark(turn, "Cut off at its longest.");
      const spoken = event.parrot && event.parrot.answered_in;
      if (spoken && spoken !== language.code) {
        remark(turn, `Answered in ${languages.get(spoken).name}, not ${language.name}.`);
      }
      if (follows) scrollToEnd();
    }
  } catch (error) {
    stopped = error.name === "AbortError";
    if (stopped) remark(turn, "Stopped.");
    else say(error.message);
  }
  answer.setAttribute("aria-busy", "false");
  running = null;
  at("ask").disabled = false;
  at("stop").hidden = true;
  if (text) {
    messages.push({ role: "user", content }, { role: "assistant", content: text });
    pictureSent = pictureSent || Boolean(shown);
    at("status").textContent = `${stopped ? "Stopped" : "Answer"}: ${text}`;
  } else if (!turn.querySelector(".routing")) {
    turn.remove(); // the question was refused: it stays in its field
  } else {
    remark(turn, "No answer came; the question is not remembered.");
  }
  at("question").focus();
}

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
at("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    ask();
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && running) running.abort();
});
at("stop").addEventListener("click", () => running && running.abort());
at("anew").addEventListener("click", startAnew);
at("remove").addEventListener("click", removePicture);
at("language").addEventListener("change", propose);
at("file").addEventListener("change", () => usePicture(at("file").files[0]));
at("key").addEventListener("change", () => loadModel().catch((error) => say(error.message)));
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.add("over");
  });
}
for (const kind of ["dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.remove("over");
  });
}
document.addEventListener("drop", (event) => {
  if (!event.dataTransfer.files.length) return;
  at("file").files = event.dataTransfer.files; // so that the field names it, too
  usePicture(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) usePicture(event.clipboardData.files[0]);
});
loadModel().catch((error) => say(error.message));
