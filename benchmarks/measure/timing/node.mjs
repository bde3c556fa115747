// One TF.js model on WASM, one thread: `node node.mjs MODEL_FOLDER`, in the folder of TF.js.
//
// Speaks as worker.py does.

import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const WARM = 3;
const WARM_MS = 2000;
const folder = process.argv[2];
const require = createRequire(path.resolve('runner.mjs'));
const tf = require('@tensorflow/tfjs-core');
const { loadGraphModel } = require('@tensorflow/tfjs-converter');
const { setWasmPaths } = require('@tensorflow/tfjs-backend-wasm');
const { described, frames, send, tensors } = await import(pathToFileURL(path.resolve('frames.mjs')));
const { endWithParent } = await import(pathToFileURL(path.resolve('parent.mjs')));
endWithParent();

function run(model, inputs) {
  const results = [model.execute(inputs)].flat();
  for (const result of results) result.dataSync();
  tf.dispose(results);
}

// Up to `runs` runs, at least one, and none after these have taken `most` milliseconds.
function timed(model, inputs, runs, most) {
  const wall = [];
  const cpu = [];
  for (let sum = 0; wall.length < runs && (sum === 0 || sum < most); sum += wall.at(-1)) {
    const start = performance.now();
    const busy = process.cpuUsage();
    run(model, inputs);
    const { user, system } = process.cpuUsage(busy);
    wall.push(performance.now() - start);
    cpu.push((user + system) / 1e3);
  }
  return [wall, cpu];
}

// Milliseconds of each node's kernels. The executor keeps a copy of each node's result, which the
// kernel Identity makes: by what was copied the kernel is known that made it.
function layers(model, inputs) {
  const engine = tf.engine();
  const spent = new Map();
  const copied = new Map();
  const original = engine.runKernel;
  engine.runKernel = function (name, given, ...rest) {
    const start = performance.now();
    const result = original.call(this, name, given, ...rest);
    const ms = performance.now() - start;
    for (const tensor of [result].flat()) {
      if (name === 'Identity') copied.set(tensor.dataId, given.x.dataId);
      if (tensor?.dataId && !spent.has(tensor.dataId)) spent.set(tensor.dataId, ms);
    }
    return result;
  };
  tf.env().set('KEEP_INTERMEDIATE_TENSORS', true);
  try {
    tf.dispose(model.execute(inputs));
    const found = {};
    for (const [node, tensors] of Object.entries(model.getIntermediateTensors())) {
      const made = tensors.map((tensor) => copied.get(tensor?.dataId)).find((id) => spent.has(id));
      if (made) found[node] = spent.get(made);
      spent.delete(made);
    }
    return found;
  } finally {
    model.disposeIntermediateTensors();
    tf.env().set('KEEP_INTERMEDIATE_TENSORS', false);
    engine.runKernel = original;
  }
}

// The most bytes of memory that this process has had. Linux hands maxRSS on from the process that
// started this one, so it is only asked where there is nothing better.
function peak() {
  if (process.platform !== 'linux') return process.resourceUsage().maxRSS * 1024;
  return Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024;
}

async function load() {
  setWasmPaths(path.dirname(require.resolve('@tensorflow/tfjs-backend-wasm')) + path.sep);
  await tf.setBackend('wasm');
  const before = process.memoryUsage.rss();
  const start = performance.now();
  const { weightsManifest, ...json } = JSON.parse(readFileSync(path.join(folder, 'model.json')));
  const paths = weightsManifest.flatMap((group) => group.paths);
  if (paths.some((p) => path.basename(p) !== p)) throw new Error('a shard is not beside the graph');
  const shards = paths.map((p) => readFileSync(path.join(folder, p)));
  const weightSpecs = weightsManifest.flatMap((group) => group.weights);
  const weightData = new Uint8Array(Buffer.concat(shards)).buffer;
  const model = await loadGraphModel({ load: async () => ({ ...json, weightSpecs, weightData }) });
  return { model, signature: json.signature, before, took: performance.now() - start };
}

// Gives inputs by the signature's names to all runs that follow, and answers with the outputs.
function feed(model, signature, inputs, given) {
  for (const [name, tensor] of Object.entries(given)) {
    const [node] = signature.inputs[name].name.split(':');
    inputs[node].dispose();
    inputs[node] = tensor;
  }
  const names = Object.keys(signature.outputs);
  const nodes = names.map((name) => signature.outputs[name].name);
  const found = [model.execute(inputs, nodes)].flat();
  return described(Object.fromEntries(names.map((name, i) => [name, found[i]])));
}

try {
  const { model, signature, before, took } = await load();
  const inputs = Object.fromEntries(
    model.inputs.map(({ name, shape }) => [name, tf.randomUniform(shape.map((n) => Math.max(n, 1)))]),
  );
  const [[first]] = timed(model, inputs, 1, 0);
  if (first < WARM_MS) timed(model, inputs, WARM, WARM_MS);
  const ports = { inputs: Object.keys(signature.inputs), outputs: Object.keys(signature.outputs) };
  send({ load: took, first, resident: before, ...ports });
  for await (const [asked, payload] of frames(process.stdin)) {
    if (asked.feed) {
      send(...feed(model, signature, inputs, tensors(asked, payload)));
    } else if (asked.layers) {
      send({ layers: layers(model, inputs) });
    } else {
      const [wall, cpu] = timed(model, inputs, asked.runs, asked.most);
      send({ wall, cpu, peak: peak() });
    }
  }
} catch (error) {
  send({ error: String(error?.message ?? error).split('\n')[0] });
}
