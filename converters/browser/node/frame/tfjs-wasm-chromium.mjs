// TF.js on WebAssembly with SIMD and the threaded build, which takes fewer threads than cores.

import { getThreadsCount, setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import { env } from '@tensorflow/tfjs-core';

import { serveOn } from './graph_model.mjs';
import { at } from './serve.mjs';

export async function start() {
  setWasmPaths(at('tfjs/'));
  for (const feature of ['SIMD', 'MULTITHREAD']) {
    const has = await env().getAsync(`WASM_HAS_${feature}_SUPPORT`);
    if (!has) throw new Error(`WebAssembly has no ${feature} support`);
  }
  await serveOn('wasm');
  return `SIMD, threaded build, threads: ${getThreadsCount()}`;
}
