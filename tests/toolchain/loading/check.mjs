// Runs the loading code of a web bundle in Node for a Python test: a JSON request on standard
// input, a JSON answer on standard output. Arrays travel as base64.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const request = JSON.parse(readFileSync(0, 'utf8'));
const loading = await import(pathToFileURL(request.loading));
const { toTensor, toPicture } = loading;

const decode = (text) => new Uint8Array(Buffer.from(text, 'base64'));
const encode = (array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString('base64');
const floats = (text) => new Float32Array(decode(text).buffer);
const picture = ({ width, height, data }) => ({ width, height, data: decode(data) });

const COMMANDS = {
  tensor: ({ picture: p, spec }) => encode(toTensor(picture(p), spec).tensor.data),
  picture: ({ tensor, rule, placement }) =>
    encode(toPicture({ shape: tensor.shape, data: floats(tensor.data) }, rule, placement).data),
  run: runBundle,
  feed: feedBundle,
  fetch: fetchBundle,
  steps: stepBundle,
};

let memory; // of the runtime that was loaded last

async function tensorflow(node) {
  const at = (name) => import(pathToFileURL(path.join(node, 'node_modules', '@tensorflow', name)));
  const tf = await at('tfjs-core/dist/tf-core.node.js');
  const { loadGraphModel } = await at('tfjs-converter/dist/tf-converter.node.js');
  const wasm = await at('tfjs-backend-wasm/dist/tf-backend-wasm.node.js');
  wasm.setWasmPaths(path.join(node, 'node_modules/@tensorflow/tfjs-backend-wasm/dist') + path.sep);
  await tf.setBackend('wasm');
  return { ...tf, loadGraphModel };
}

async function loaded({ node, bundle, size }) {
  const tf = await tensorflow(node);
  const read = (name) => readFileSync(path.join(bundle, name));
  const manifest = JSON.parse(read('manifest.json'));
  const folder = manifest.artifact.path;
  const seen = size ? loading.atSize(manifest, size) : manifest;
  const json = JSON.parse(read(`${folder}/${seen.artifact.entry || 'model.json'}`));
  const shards = json.weightsManifest.flatMap((g) => g.paths.map((s) => read(`${folder}/${s}`)));
  const all = Buffer.concat(shards);
  const artifacts = {
    modelTopology: json.modelTopology,
    signature: json.signature,
    format: json.format,
    weightSpecs: json.weightsManifest.flatMap((g) => g.weights),
    weightData: all.buffer.slice(all.byteOffset, all.byteOffset + all.length),
  };
  memory = () => tf.memory().numTensors;
  const io = { load: async () => artifacts };
  return loading.Model.load(tf, bundle, { manifest, io, size });
}

// What loading from a server says, of files that are not the manifest's: empty where it loads.
async function fetchBundle({ node, bundle, changes }) {
  const tf = await tensorflow(node);
  const said = {};
  for (const [label, change] of Object.entries(changes)) {
    const own = globalThis.crypto;
    const server = createServer((request, response) => {
      const name = decodeURIComponent(request.url.slice('/a%20bundle/'.length));
      const bytes = readFileSync(path.join(bundle, name));
      if (name === change.file) bytes[change.at] ^= 1;
      response.end(bytes);
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    if (change.insecure) Object.defineProperty(globalThis, 'crypto', { value: {}, configurable: true });
    const base = `http://127.0.0.1:${server.address().port}/a bundle`;
    said[label] = await loading.Model.load(tf, base, change.options).then(
      (model) => (model.dispose(), ''),
      (error) => error.message,
    );
    Object.defineProperty(globalThis, 'crypto', { value: own, configurable: true });
    server.closeAllConnections();
    server.close();
  }
  return said;
}

async function feedBundle({ tensors, ...where }) {
  const given = ([name, { shape, data }]) => [name, { shape, data: floats(data) }];
  const model = await loaded(where);
  const { outputs } = await model.run(Object.fromEntries(Object.entries(tensors).map(given)));
  return Object.fromEntries(Object.entries(outputs).map(([name, { data }]) => [name, [...data]]));
}

// The outputs of each step, and how many tensors are there after it; `wanted` are read back. Then
// of the first again after reset(), and the count after dispose().
async function stepBundle({ steps, wanted, ...where }) {
  const given = ([name, { shape, data }]) => [name, { shape, data: floats(data) }];
  const fed = steps.map((step) => Object.fromEntries(Object.entries(step).map(given)));
  const model = await loaded(where);
  const read = async (step) => {
    const { outputs } = await model.run(step, wanted);
    return Object.fromEntries(Object.entries(outputs).map(([name, { data }]) => [name, [...data]]));
  };
  const [found, counts] = [[], [memory()]];
  for (const step of fed) {
    found.push(await read(step));
    counts.push(memory());
  }
  const refused = await model.run({}).then(() => '', (error) => error.message);
  counts.push(memory());
  model.reset();
  const again = await read(fed[0]);
  model.reset();
  counts.push(memory());
  model.dispose();
  return { found, counts, again, refused, left: memory() };
}

async function runBundle({ input, output, picture: p, ...where }) {
  const model = await loaded(where);
  const { outputs, placement } = await model.run({ [input]: picture(p) });
  const shown = model.picture(output, outputs[output], placement);
  return { width: shown.width, height: shown.height, data: encode(shown.data) };
}

const answers = [];
for (const job of request.jobs) {
  try {
    answers.push({ value: await COMMANDS[job.command](job) });
  } catch (error) {
    answers.push({ error: error.message });
  }
}
process.stdout.write(JSON.stringify(answers));
