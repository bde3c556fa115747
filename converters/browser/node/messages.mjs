// A message: the length of its header (4 bytes, little-endian), the header (JSON) and the bytes of
// the tensors that the header describes, one after the other.

const BYTES = { float32: 4, int32: 4, bool: 1 };

function bytesOf(tensors = []) {
  const sizes = tensors.map((t) => t.shape.reduce((product, n) => product * n, 1) * BYTES[t.dtype]);
  return sizes.reduce((sum, n) => sum + n, 0);
}

export async function* receive(stream) {
  const held = [];
  let length = 0;
  const take = (count) => {
    const all = held.length === 1 ? held[0] : Buffer.concat(held);
    held.splice(0, held.length, all.subarray(count));
    length -= count;
    return all.subarray(0, count);
  };
  let size = null;
  let header = null;
  for await (const chunk of stream) {
    held.push(chunk);
    length += chunk.length;
    for (;;) {
      if (size === null && length >= 4) size = take(4).readUInt32LE(0);
      if (size !== null && header === null && length >= size) header = JSON.parse(take(size).toString());
      if (header === null || length < bytesOf(header.tensors)) break;
      yield [header, take(bytesOf(header.tensors))];
      size = header = null;
    }
  }
}

export function send(header, bytes = Buffer.alloc(0)) {
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(text.length);
  for (const part of [length, text, bytes]) process.stdout.write(part);
}
