// .tflite files in LiteRT.js on WebAssembly.

import { loadAndCompile, loadLiteRt, Tensor } from '@litertjs/core';

import { at, fetchBytes, serve } from './serve.mjs';

export async function start() {
  await loadLiteRt(at('litert/'));
  serve({ load });
  return 'XNNPACK on WebAssembly';
}

const DEFAULT = 'serving_default';

async function load(url, entry) {
  const model = await loadAndCompile(new Uint8Array(await fetchBytes(url)), { accelerator: 'wasm' });
  const keys = Object.keys(model.signatures);
  const key = entry || (keys.length === 1 ? keys[0] : DEFAULT);
  const signature = model.signatures[key];
  if (!signature) throw new Error(`the file has no signature ${key}, but ${keys.join(', ') || 'none'}`);
  return {
    inputs: described(signature.getInputDetails()),
    outputs: described(signature.getOutputDetails()),
    run: (arrays) => run(signature, arrays),
    dispose: () => model.delete(),
  };
}

function described(details) {
  return Object.fromEntries(
    details.map(({ name, dtype, shape }) => [name, { dtype, shape: Array.from(shape) }]),
  );
}

async function run(signature, arrays) {
  const feeds = Object.fromEntries(
    Object.entries(arrays).map(([name, { values, shape }]) => [name, new Tensor(values, shape)]),
  );
  const results = await signature.run(feeds);
  const read = Object.entries(results).map(([name, tensor]) => {
    const { dtype, layout } = tensor.type;
    const values = tensor.toTypedArray().slice();
    tensor.delete();
    return { name, dtype, shape: Array.from(layout.dimensions), values };
  });
  Object.values(feeds).forEach((tensor) => tensor.delete());
  return read;
}
