// One TF.js model on WASM, one thread: `node latency.mjs NODE_FOLDER MODEL_FOLDER [RUNS]`.
//
// Prints the CPU milliseconds of each run as JSON. NODE_FOLDER is where TF.js is installed.

import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import path from 'node:path';

const WARM = 3;
const ENOUGH = 5000;
const [home, folder, runs = '10'] = process.argv.slice(2);
const require = createRequire(path.resolve(home, 'runner.mjs'));
const tf = require('@tensorflow/tfjs-core');
const { loadGraphModel } = require('@tensorflow/tfjs-converter');
const { setWasmPaths } = require('@tensorflow/tfjs-backend-wasm');

setWasmPaths(path.dirname(require.resolve('@tensorflow/tfjs-backend-wasm')) + path.sep);
await tf.setBackend('wasm');

const { weightsManifest, ...json } = JSON.parse(readFileSync(path.join(folder, 'model.json')));
const shards = weightsManifest.flatMap((g) => g.paths).map((p) => readFileSync(path.join(folder, p)));
const weightSpecs = weightsManifest.flatMap((group) => group.weights);
const weightData = new Uint8Array(Buffer.concat(shards)).buffer;
const model = await loadGraphModel({ load: async () => ({ ...json, weightSpecs, weightData }) });
const inputs = Object.fromEntries(
  model.inputs.map(({ name, shape }) => [name, tf.randomUniform(shape.map((n) => Math.max(n, 1)))]),
);

// At most `most` runs, and none after these have taken ENOUGH milliseconds: as in latency.py.
function timed(most) {
  const times = [];
  for (let sum = 0; times.length < most && sum < ENOUGH; sum += times.at(-1)) {
    const start = process.cpuUsage();
    const results = [model.execute(inputs)].flat();
    for (const result of results) result.dataSync();
    const { user, system } = process.cpuUsage(start);
    times.push((user + system) / 1e3);
    tf.dispose(results);
  }
  return times;
}

timed(WARM);
console.log(JSON.stringify(timed(Number(runs))));
