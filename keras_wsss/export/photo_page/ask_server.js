// Masks from the server that sent this page, over its REST API.
const ready = Promise.resolve();

async function segment(file, model) {
  const body = {instances: [{image_bytes: {b64: await base64(file)}}]};
  const address = `v1/models/${encodeURIComponent(model)}:predict`;
  let response;
  try {
    response = await fetch(address, {method: "POST", body: JSON.stringify(body)});
  } catch {
    throw new Refusal("The server does not answer. Is it still running?", true);
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw refusal(response.status, answer.error, file);
  const row = answer.predictions?.[0];
  if (!row?.mask_png_bytes || !row.class_ids || !row.coverage) {
    throw new Refusal(`The model ${model} gives no masks. Was it exported with keras_wsss?`);
  }
  if (row.status !== "ok") throw new Refusal(`${file.name}: ${row.message}.`);
  const bytes = Uint8Array.from(atob(row.mask_png_bytes.b64), letter => letter.charCodeAt());
  const classes = row.class_ids.map((id, place) => ({
    id,
    name: row.class_names[place],
    score: row.class_scores[place],
    share: row.coverage[id],
  }));
  return {mask: new Blob([bytes], {type: "image/png"}), classes, note: ""};
}

function refusal(status, said, file) {
  if (status === 413) {
    return new Refusal(`${file.name}: too large for this server. Shrink the photograph.`);
  }
  if (status === 429 || status === 503) return new Refusal(`The server is busy: ${said}.`, true);
  return new Refusal(`The server answers ${status}: ${said ?? "no reason"}`, true);
}

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Refusal(`${file.name}: cannot be read.`));
    reader.readAsDataURL(file);
  });
}
