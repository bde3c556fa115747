// Runs a TF.js graph model on WebAssembly: `node runner.mjs`.
//
// Answers requests on stdin with responses on stdout. The first request names the model's folder
// and the graph in it, and is answered with what was loaded. A frame is the length of its header (4 bytes,
// little-endian), the header (JSON) and the bytes of its tensors, one after the other. `fetch` in
// a request names the nodes that are wanted in place of the outputs.

import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import path from 'node:path';

import * as tf from '@tensorflow/tfjs-core';
import { loadGraphModel } from '@tensorflow/tfjs-converter';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';

import { BYTES, described, frames, send, size, tensors } from './frames.mjs';
import { endWithParent } from './parent.mjs';

function readModel(folder, graph) {
  const json = JSON.parse(readFileSync(path.join(folder, graph), 'utf8'));
  const groups = json.weightsManifest;
  const specs = groups.flatMap((group) => group.weights);
  const names = groups.flatMap((group) => group.paths);
  const elsewhere = names.find((name) => path.basename(name) !== name);
  if (elsewhere !== undefined) throw new Error(`the shard ${elsewhere} is not beside the graph`);
  const shards = names.map((name) => readFileSync(path.join(folder, name)));
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

function run(model, signature, header, payload) {
  const results = tf.tidy(() => {
    const feeds = Object.entries(tensors(header, payload));
    const inputs = Object.fromEntries(feeds.map(([n, t]) => [signature.inputs[n].name, t]));
    const names = header.fetch ?? Object.keys(signature.outputs);
    const found = [model.execute(inputs, names.map((n) => signature.outputs[n]?.name ?? n))].flat();
    return Object.fromEntries(names.map((name, i) => [name, found[i]]));
  });
  return described(results);
}

endWithParent();
await startBackend();
const requests = frames(process.stdin);
const [asked] = (await requests.next()).value;
const artifacts = readModel(asked.model, asked.graph);
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
