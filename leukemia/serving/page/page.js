// The page of one classifier: files go to /cells of the same server, answers come back.
const at = (id) => document.getElementById(id);

function made(tag, text, attributes = {}) {
  const element = Object.assign(document.createElement(tag), attributes);
  if (text) element.textContent = text;
  return element;
}

async function about() {
  const model = await (await fetch("about")).json();
  at("model").textContent =
    `${model.name} version ${model.version || "not registered"}: the probability that a cell is ` +
    `“${model.positive}”; called so from ${model.threshold}, else “${model.negative}”.`;
  at("card").innerHTML = model.card; // made from Markdown by the server, without any HTML of its own
  return model;
}

function picture(source, caption) {
  const figure = made("figure");
  figure.append(made("img", "", { src: source, alt: caption }), made("figcaption", caption));
  return figure;
}

function shown(answer, name, sought) {
  const item = made("li");
  if (answer.error) {
    item.append(made("h2", name), made("p", answer.error, { className: "wrong" }));
    return item;
  }
  const percent = `${(100 * answer.probability).toFixed(1)}\u00a0%`;
  const bar = made("meter", percent, { min: 0, max: 1, value: answer.probability });
  bar.setAttribute("aria-label", `probability of ${sought}: ${percent}`);
  item.append(made("h2", name));
  const pair = made("div", "", { className: "pair" });
  pair.append(picture(answer.seen, "what the classifier saw"));
  if (answer.heat) pair.append(picture(answer.heat, "where it looked"));
  const said = made("p");
  said.append(made("strong", answer.label), ` (probability of ${sought}: ${percent})`);
  item.append(pair, said, bar);
  return item;
}

async function ask(files) {
  if (!files.length) return;
  const body = new FormData();
  for (const file of files) body.append("files", file);
  at("wrong").textContent = "";
  at("answers").replaceChildren();
  at("said").textContent = `Asking about ${files.length} cell${files.length > 1 ? "s" : ""}…`;
  try {
    const reply = await fetch(`cells?pictures=${at("heat").checked ? "heat" : "seen"}`, {
      method: "POST",
      body,
    });
    const came = await reply.json();
    if (!reply.ok) throw new Error(came.error ?? came.message ?? `the server said ${reply.status}`);
    const { positive } = await model;
    at("answers").append(...came.map((answer, row) => shown(answer, files[row].name, positive)));
    const good = came.filter((answer) => !answer.error);
    const counts = Map.groupBy?.(good, (answer) => answer.label) ?? new Map([["answers", good]]);
    const parts = [...counts].map(([label, those]) => `${those.length} ${label}`);
    at("said").textContent =
      `${good.length} answered: ${parts.join(", ")}. Version ${good[0].version || "-"}. ` +
      `${good[0].protocol}`;
    if (good.length < came.length)
      at("wrong").textContent = `${came.length - good.length} of ${came.length} files have no answer.`;
  } catch (error) {
    at("said").textContent = "";
    at("wrong").textContent = error.message;
  }
}

at("files").addEventListener("change", () => ask([...at("files").files]));
at("form").addEventListener("submit", (event) => event.preventDefault());
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  at("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
    if (kind === "drop") ask([...event.dataTransfer.files]);
  });
}
const model = about();
model.catch(() => {
  at("wrong").textContent = "The server does not say which model answers; reload the page.";
});
