// The sizes that a network sees, and back: the arithmetic of keras_wsss.data.sizes.shrunk and
// tf.image.resize.
const BAND = 256; // rows that are read at once: phones have no canvas for a whole photograph

function workingSize(height, width, longest) {
  const factor = longest / Math.max(height, width);
  if (factor >= 1) return [height, width];
  return [height, width].map(side => Math.max(1, roundedToEven(side * factor)));
}

function roundedToEven(value) {
  const below = Math.floor(value), rest = value - below;
  return rest === 0.5 ? below + below % 2 : Math.round(value);
}

/** Float RGB 0..255 of a picture, with anti-aliasing; and whether it has transparent pixels. */
function shrunk(picture, height, width) {
  const across = weights(picture.width, width), down = weights(picture.height, height);
  const rows = new Float32Array(picture.height * width * 3);
  let transparent = false;
  for (const [top, data] of bands(picture)) {
    for (let at = 3; at < data.length; at += 4) transparent ||= data[at] < 255;
    for (let row = 0; row < data.length / picture.width / 4; row++) {
      combine(across, data, 4 * picture.width * row, 4, rows, 3 * width * (top + row), 3);
    }
  }
  const pixels = new Float32Array(height * width * 3);
  for (let x = 0; x < width; x++) combine(down, rows, 3 * x, 3 * width, pixels, 3 * x, 3 * width);
  return {pixels, transparent};
}

function* bands(picture) {
  const canvas = document.createElement("canvas");
  canvas.width = picture.width;
  canvas.height = Math.min(BAND, picture.height);
  const context = canvas.getContext("2d", {willReadFrequently: true});
  context.globalCompositeOperation = "copy";
  for (let top = 0; top < picture.height; top += BAND) {
    const height = Math.min(BAND, picture.height - top);
    context.drawImage(picture, 0, -top);
    yield [top, context.getImageData(0, 0, picture.width, height).data];
  }
}

/** For each new pixel of a line the first old one, and the weights from there: a triangle as wide
 * as two pixels of the coarser side. */
function weights(from, to) {
  const ratio = from / to, radius = Math.max(ratio, 1);
  return Array.from({length: to}, (_, place) => {
    const centre = (place + 0.5) * ratio;
    const first = Math.max(0, Math.ceil(centre - radius - 0.5));
    const last = Math.min(from - 1, Math.floor(centre + radius - 0.5));
    const values = [];
    for (let old = first; old <= last; old++) {
      values.push(1 - Math.abs(old + 0.5 - centre) / radius);
    }
    const sum = values.reduce((a, b) => a + b);
    return {first, values: values.map(value => value / sum)};
  });
}

/** One line of RGB pixels from another; steps are from a pixel to the next. */
function combine(line, source, sourceStart, sourceStep, target, targetStart, targetStep) {
  line.forEach(({first, values}, place) => {
    for (let channel = 0; channel < 3; channel++) {
      let sum = 0, at = sourceStart + first * sourceStep + channel;
      for (const value of values) {
        sum += value * source[at];
        at += sourceStep;
      }
      target[targetStart + place * targetStep + channel] = sum;
    }
  });
}

/** Class ids of another size, by nearest neighbour; in float32, as TensorFlow computes it. */
function enlarged(ids, height, width, newHeight, newWidth) {
  const nearest = (from, to) => Array.from({length: to}, (_, place) => {
    const scale = Math.fround(from / to);
    return Math.min(from - 1, Math.floor(Math.fround(Math.fround(place + 0.5) * scale)));
  });
  const rows = nearest(height, newHeight), columns = nearest(width, newWidth);
  const large = new Uint8Array(newHeight * newWidth);
  let at = 0;
  for (const row of rows) for (const column of columns) large[at++] = ids[row * width + column];
  return large;
}
