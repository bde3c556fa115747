// How this process exchanges tensors with another: see converters/processes/frames.py.

import * as tf from '@tensorflow/tfjs-core';

const ARRAYS = { float32: Float32Array, int32: Int32Array, bool: Uint8Array };
export const BYTES = { float32: 4, int32: 4, bool: 1, float16: 2, uint8: 1, uint16: 2 };

export function size(shape) {
  return shape.reduce((product, n) => product * n, 1);
}

// The tensors of a request by name.
export function tensors(header, payload) {
  let offset = 0;
  return Object.fromEntries(
    header.tensors.map(({ name, dtype, shape }) => {
      const length = size(shape);
      const bytes = payload.subarray(offset, (offset += length * BYTES[dtype]));
      const values = new ARRAYS[dtype](new Uint8Array(bytes).buffer, 0, length);
      return [name, tf.tensor(values, shape, dtype)];
    }),
  );
}

// The header and the bytes of an answer of tensors by name, which are disposed of.
export function described(named) {
  const found = Object.entries(named).map(([name, tensor]) => {
    const values = tensor.dataSync();
    const { dtype, shape } = tensor;
    tensor.dispose();
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    return { name, dtype, shape, bytes };
  });
  const header = { tensors: found.map(({ name, dtype, shape }) => ({ name, dtype, shape })) };
  return [header, found.map((d) => d.bytes)];
}

export function send(header, parts = []) {
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(text.length);
  for (const part of [length, text, ...parts]) process.stdout.write(part);
}

export async function* frames(stream) {
  let held = Buffer.alloc(0);
  for await (const chunk of stream) {
    held = Buffer.concat([held, chunk]);
    for (;;) {
      if (held.length < 4) break;
      const start = 4 + held.readUInt32LE(0);
      if (held.length < start) break;
      const header = JSON.parse(held.subarray(4, start).toString());
      const bytes = header.tensors.reduce((sum, t) => sum + size(t.shape) * BYTES[t.dtype], 0);
      if (held.length < start + bytes) break;
      yield [header, held.subarray(start, start + bytes)];
      held = held.subarray(start + bytes);
    }
  }
}
