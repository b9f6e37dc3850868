// A mask as PASCAL VOC stores it: a PNG file whose pixels are class ids with colours.

async function palettePng(ids, width) {
  const height = ids.length / width;
  const rows = new Uint8Array((width + 1) * height); // each begins with the number of its filter: 0
  for (let y = 0; y < height; y++) {
    rows.set(ids.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  }
  const packed = new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"));
  const colours = SETUP.palette.flatMap(code => [1, 3, 5].map(at => parseInt(code.slice(at, at + 2), 16)));
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint16(8, 0x0803); // 8 bits a pixel, which are an index
  const parts = [
    new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    ...chunk("IHDR", new Uint8Array(header.buffer)),
    ...chunk("PLTE", new Uint8Array(colours)),
    ...chunk("IDAT", new Uint8Array(await new Response(packed).arrayBuffer())),
    ...chunk("IEND", new Uint8Array()),
  ];
  return new Blob(parts, {type: "image/png"});
}

function chunk(name, content) {
  const body = new Uint8Array([...new TextEncoder().encode(name), ...content]);
  return [number(content.length), body, number(checksum(body))];
}

function number(value) {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, value);
  return view.buffer;
}

/** CRC-32. */
function checksum(bytes) {
  let rest = 0xffffffff;
  for (const byte of bytes) {
    rest ^= byte;
    for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? rest >>> 1 ^ 0xedb88320 : rest >>> 1;
  }
  return (rest ^ 0xffffffff) >>> 0;
}
