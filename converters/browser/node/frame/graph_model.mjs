// TF.js graph models, on whichever backend the frame has started.

import { loadGraphModel } from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';

import { fetchBytes, serve, size } from './serve.mjs';

const BYTES = { float32: 4, int32: 4, bool: 1, float16: 2, uint8: 1, uint16: 2 };
const KINDS = { DT_FLOAT: 'float32', DT_INT32: 'int32', DT_BOOL: 'bool' };

export async function serveOn(backend) {
  if (!(await tf.setBackend(backend))) throw new Error(`tfjs has no backend ${backend} here`);
  await tf.ready();
  if (tf.getBackend() !== backend) throw new Error(`tfjs took ${tf.getBackend()} instead`);
  serve({ load });
}

async function load(url, entry) {
  const files = await read(url, entry || 'model.json');
  const model = await loadGraphModel({ load: async () => files });
  const { inputs, outputs } = files.signature;
  return {
    inputs: described(inputs),
    outputs: described(outputs),
    run: (arrays) => run(model, inputs, outputs, arrays),
    dispose: () => model.dispose(),
  };
}

async function read(url, graph) {
  const json = JSON.parse(new TextDecoder().decode(await fetchBytes(`${url}/${graph}`)));
  const specs = json.weightsManifest.flatMap((group) => group.weights);
  const paths = json.weightsManifest.flatMap((group) => group.paths);
  const base = new URL(`${url}/`, location.href);
  const shards = await Promise.all(paths.map((p) => fetchBytes(new URL(p, base).href)));
  const weightData = await new Blob(shards).arrayBuffer();
  const wanted = specs
    .map((spec) => size(spec.shape) * BYTES[(spec.quantization ?? spec).dtype])
    .reduce((sum, bytes) => sum + bytes, 0);
  if (weightData.byteLength !== wanted) {
    throw new Error(`the shards hold ${weightData.byteLength} bytes, the manifest says ${wanted}`);
  }
  const { modelTopology, signature, format } = json;
  return { modelTopology, signature, format, weightSpecs: specs, weightData };
}

function described(infos) {
  return Object.fromEntries(
    Object.entries(infos).map(([name, { dtype, tensorShape }]) => [
      name,
      { dtype: KINDS[dtype] ?? dtype, shape: (tensorShape.dim ?? []).map((d) => Number(d.size)) },
    ]),
  );
}

async function run(model, inputs, outputs, arrays) {
  const names = Object.keys(outputs);
  const results = tf.tidy(() => {
    const feeds = Object.entries(arrays).map(([name, { values, shape, dtype }]) => [
      inputs[name].name,
      tf.tensor(values, shape, dtype),
    ]);
    return [model.execute(Object.fromEntries(feeds), names.map((n) => outputs[n].name))].flat();
  });
  const read = results.map(async (tensor, i) => {
    const values = await tensor.data();
    tensor.dispose();
    return { name: names[i], dtype: tensor.dtype, shape: tensor.shape, values };
  });
  return Promise.all(read);
}
