// Runs a TF.js graph model on WebAssembly: `node runner.mjs`.
//
// Answers requests on stdin with responses on stdout. The first request names the model's folder
// and is answered with what was loaded. A frame is the length of its header (4 bytes,
// little-endian), the header (JSON) and the bytes of its tensors, one after the other. `fetch` in
// a request names the nodes that are wanted in place of the outputs.

import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import path from 'node:path';

import * as tf from '@tensorflow/tfjs-core';
import { loadGraphModel } from '@tensorflow/tfjs-converter';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';

const ARRAYS = { float32: Float32Array, int32: Int32Array, bool: Uint8Array };
const BYTES = { float32: 4, int32: 4, bool: 1, float16: 2, uint8: 1, uint16: 2 };

function size(shape) {
  return shape.reduce((product, n) => product * n, 1);
}

function readModel(folder) {
  const json = JSON.parse(readFileSync(path.join(folder, 'model.json'), 'utf8'));
  const groups = json.weightsManifest;
  const specs = groups.flatMap((group) => group.weights);
  const shards = groups.flatMap((group) => group.paths).map((p) => readFileSync(path.join(folder, p)));
  const data = Buffer.concat(shards);
  const wanted = specs
    .map((spec) => size(spec.shape) * BYTES[(spec.quantization ?? spec).dtype])
    .reduce((sum, bytes) => sum + bytes, 0);
  if (data.length !== wanted) {
    throw new Error(`the shards hold ${data.length} bytes, the manifest says ${wanted}`);
  }
  const weightData = data.buffer.slice(data.byteOffset, data.byteOffset + data.length);
  const { modelTopology, signature, format } = json;
  return { modelTopology, signature, format, weightSpecs: specs, weightData };
}

async function startBackend() {
  const require = createRequire(import.meta.url);
  const folder = path.dirname(require.resolve('@tensorflow/tfjs-backend-wasm'));
  setWasmPaths(folder + path.sep);
  await tf.setBackend('wasm');
  await tf.ready();
  if (tf.getBackend() !== 'wasm') throw new Error('the WASM backend did not start');
  if (!(await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT'))) throw new Error('no WASM SIMD');
}

function tensors(header, payload) {
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

function run(model, signature, header, payload) {
  const results = tf.tidy(() => {
    const feeds = Object.entries(tensors(header, payload));
    const inputs = Object.fromEntries(feeds.map(([n, t]) => [signature.inputs[n].name, t]));
    const names = header.fetch ?? Object.keys(signature.outputs);
    const found = [model.execute(inputs, names.map((n) => signature.outputs[n]?.name ?? n))].flat();
    return names.map((name, i) => ({ name, tensor: found[i] }));
  });
  const described = results.map(({ name, tensor }) => {
    const values = tensor.dataSync();
    const { dtype, shape } = tensor;
    tensor.dispose();
    return { name, dtype, shape, bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) };
  });
  const tensorsOut = described.map(({ name, dtype, shape }) => ({ name, dtype, shape }));
  return [{ tensors: tensorsOut }, described.map((d) => d.bytes)];
}

function send(header, parts = []) {
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(text.length);
  for (const part of [length, text, ...parts]) process.stdout.write(part);
}

async function* frames(stream) {
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

await startBackend();
const requests = frames(process.stdin);
const [asked] = (await requests.next()).value;
const artifacts = readModel(asked.model);
const model = await loadGraphModel({ load: async () => artifacts });
const { signature } = artifacts;
send({ ready: signature });
for await (const [header, payload] of requests) {
  try {
    send(...run(model, signature, header, payload));
  } catch (error) {
    send({ error: String(error?.message ?? error) });
  }
}
