const SETUP = JSON.parse(document.getElementById("form").dataset.setup);

/** A sentence for people: what is wrong, and whether it is worth trying again. */
class Refusal extends Error {
  constructor(sentence, again = false) {
    super(sentence);
    this.again = again;
  }
}

/** The picture in a file, turned as Python turns it: as EXIF data say, but of JPEG files alone. */
async function decoded(file, options) {
  try {
    return await createImageBitmap(await withoutExif(file), options);
  } catch {
    throw new Refusal(`${file.name}: this browser cannot decode it; save it again as JPEG or PNG.`);
  }
}

/** A PNG file without its EXIF chunk; other files as they are. */
async function withoutExif(file) {
  const view = new DataView(await file.arrayBuffer());
  if (view.byteLength < 8 || view.getUint32(0) !== 0x89504e47) return file;
  for (let at = 8, end; at + 12 <= view.byteLength; at = end) {
    end = at + 12 + view.getUint32(at);
    if (view.getUint32(at + 4) === 0x65584966) return new Blob([file.slice(0, at), file.slice(end)]);
  }
  return file;
}
