// The page. Where the masks come from is another file, which has
//   ready: a promise, kept when photographs can be segmented;
//   segment(file, model): a promise of {mask, classes, note}: a PNG file with a palette; {id, name,
//     score, share} of each class, the best score first; a sentence, or nothing.
// Both promises are broken with a Refusal, a sentence for people.
const LARGEST = 1600; // longer side of the picture, as of those that the commands write
const FIRST = 5; // scores that are seen without being asked for

let shown; // the photograph on the page: {file, answer, photo, colours}
let chosen; // the file that was chosen last
let turn = 0; // counts what was chosen: an answer to an earlier one comes too late

const part = id => document.getElementById(id);
const percent = share => share < 0.01 ? "<1\u00a0%" : `${Math.round(100 * share)}\u00a0%`;
const stem = file => file.name.replace(/\.[^.]*$/, "");

function choose(file) {
  chosen = file ?? chosen;
  if (chosen) show(chosen);
}

async function show(file) {
  const mine = ++turn;
  part("error").hidden = true;
  part("status").textContent = `Segmenting ${file.name} …`;
  try {
    await ready;
    const started = performance.now();
    const answer = await segment(file, part("model").value);
    const seconds = (performance.now() - started) / 1000;
    const layers = await pictures(file, answer.mask);
    if (mine !== turn) return;
    shown = {file, answer, ...layers};
    draw();
    describe(answer);
    part("status").textContent = `Segmented in ${seconds.toFixed(1)} s. ${answer.note}`;
  } catch (error) {
    if (mine === turn) complain(error);
  }
}

function complain(error) {
  if (!(error instanceof Refusal)) console.error(error);
  const sentence = error instanceof Refusal ? error.message : `This page has failed (${error}).`;
  part("sentence").textContent = sentence;
  part("again").hidden = !error.again;
  part("error").hidden = false;
  part("result").hidden = true;
  part("status").textContent = "";
}

async function pictures(file, mask) {
  const photo = await decoded(file);
  const factor = Math.min(1, LARGEST / Math.max(photo.width, photo.height));
  const size = [photo.width, photo.height].map(side => Math.max(1, Math.round(factor * side)));
  return {photo: painted(photo, ...size, true), colours: foreground(await decoded(mask), ...size)};
}

function painted(picture, width, height, smooth) {
  const canvas = Object.assign(document.createElement("canvas"), {width, height});
  const context = canvas.getContext("2d", {willReadFrequently: true});
  Object.assign(context, {imageSmoothingEnabled: smooth, imageSmoothingQuality: "high"});
  context.drawImage(picture, 0, 0, width, height);
  return canvas;
}

/** The colours of a mask, with nothing where it says background. */
function foreground(mask, width, height) {
  const canvas = painted(mask, width, height, false), context = canvas.getContext("2d");
  const image = context.getImageData(0, 0, width, height);
  for (let at = 0; at < image.data.length; at += 4) {
    if (!(image.data[at] || image.data[at + 1] || image.data[at + 2])) image.data[at + 3] = 0;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

function draw() {
  const {photo, colours} = shown, canvas = part("picture");
  Object.assign(canvas, {width: photo.width, height: photo.height});
  const context = canvas.getContext("2d");
  context.drawImage(photo, 0, 0);
  context.globalAlpha = part("opacity").value / 100;
  context.drawImage(colours, 0, 0);
}

function describe({classes}) {
  const found = classes.filter(each => each.share > 0).sort((a, b) => b.share - a.share);
  const said = found.map(each => `${each.name} ${percent(each.share)}`).join(", ");
  part("caption").textContent = shown.file.name;
  part("picture").ariaLabel = `${shown.file.name} with its mask: ${said || "background alone"}`;
  part("legend").replaceChildren(...found.map(legendRow));
  if (!found.length) part("legend").textContent = "nothing but background";
  part("scores").replaceChildren(...classes.slice(0, FIRST).map(scoreRow));
  part("other-scores").replaceChildren(...classes.slice(FIRST).map(scoreRow));
  part("others").hidden = classes.length <= FIRST;
  part("class-scores").hidden = SETUP.untaught.includes(part("model").value);
  part("result").hidden = false;
}

function item(...parts) {
  const row = document.createElement("li");
  row.append(...parts);
  return row;
}

function legendRow({id, name, share}) {
  const colour = Object.assign(document.createElement("span"), {className: "colour"});
  colour.style.background = SETUP.palette[id];
  return item(colour, name, span(percent(share)));
}

function scoreRow({name, score}) {
  const meter = Object.assign(document.createElement("meter"), {value: score, ariaLabel: name});
  return item(span(name), meter, span(percent(score)));
}

function span(text) {
  return Object.assign(document.createElement("span"), {textContent: text});
}

function save(blob, name) {
  const link = Object.assign(document.createElement("a"), {download: name});
  link.href = URL.createObjectURL(blob);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// The same file once more is a choice, too: it may have been changed meanwhile.
part("file").addEventListener("click", () => part("file").value = "");
part("file").addEventListener("change", () => choose(part("file").files[0]));
part("model").addEventListener("change", () => choose());
part("again").addEventListener("click", () => choose());
part("opacity").addEventListener("input", draw);
part("save-mask").addEventListener("click", () => {
  save(shown.answer.mask, `${stem(shown.file)}_mask.png`);
});
part("save-picture").addEventListener("click", () => {
  const {file} = shown;
  part("picture").toBlob(blob => save(blob, `${stem(file)}_overlay.jpg`), "image/jpeg", 0.9);
});
// Anywhere: a browser would leave the page for a photograph that misses its place by a little.
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, event => {
    event.preventDefault();
    part("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") choose(event.dataTransfer.files[0]);
  });
}
ready.then(() => turn || (part("status").textContent = ""), complain);
