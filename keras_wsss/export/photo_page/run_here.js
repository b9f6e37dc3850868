// Masks from the network beside this page, which onnxruntime-web runs; as the served model does it.
const RUNTIME = "./onnxruntime-web/ort.wasm.bundle.min.mjs";
const {classes: NAMES, limits: LIMITS, messages: MESSAGES} = SETUP;

const ready = load();

async function load() {
  document.getElementById("status").textContent = "Loading the network …";
  try {
    const runtime = await import(RUNTIME);
    runtime.env.wasm.proxy = true; // in another thread, so that the page answers meanwhile
    return {runtime, session: await runtime.InferenceSession.create("model.onnx")};
  } catch (error) {
    if (location.protocol === "file:") {
      throw new Refusal(
        "A browser lets no file load its neighbours. In the folder of this page, run " +
        "“python -m http.server”, then open http://localhost:8000."
      );
    }
    throw new Refusal(`The network cannot be loaded: ${error.message ?? error}`);
  }
}

async function segment(file) {
  const {runtime, session} = await ready;
  await check(file);
  const photo = await decoded(file, {colorSpaceConversion: "none", premultiplyAlpha: "none"});
  if (photo.width * photo.height > LIMITS.max_pixels) throw refusal(file, "too_many_pixels");
  const [height, width] = workingSize(photo.height, photo.width, LIMITS.working_size);
  const {pixels, transparent} = shrunk(photo, height, width);
  const images = new runtime.Tensor("float32", pixels, [1, height, width, 3]);
  const answer = await session.run({images}, ["class_map", "image_logits"]);
  const ids = answer.class_map.data;
  return {
    mask: await palettePng(enlarged(ids, height, width, photo.height, photo.width), photo.width),
    classes: classesOf(ids, answer.image_logits.data),
    note: transparent ? "Where it is transparent, Python may say otherwise." : "",
  };
}

function refusal(file, status) {
  return new Refusal(`${file.name}: ${MESSAGES[status]}.`);
}

async function check(file) {
  if (!file.size) throw refusal(file, "empty");
  if (file.size > LIMITS.max_bytes) throw refusal(file, "too_many_bytes");
  const start = String.fromCharCode(...new Uint8Array(await file.slice(0, 8).arrayBuffer()));
  if (!start.startsWith("\xff\xd8\xff") && start !== "\x89PNG\r\n\x1a\n") {
    throw refusal(file, "unsupported_format");
  }
}

function classesOf(ids, logits) {
  const counts = new Array(NAMES.length).fill(0);
  for (const id of ids) counts[id]++;
  const classes = Array.from(logits, (logit, place) => ({
    id: place + 1,
    name: NAMES[place + 1],
    score: 1 / (1 + Math.exp(-logit)),
    share: counts[place + 1] / ids.length,
  }));
  return classes.sort((a, b) => b.score - a.score);
}
