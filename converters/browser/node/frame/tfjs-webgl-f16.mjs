// TF.js on WebGL 2 with float16 textures only, as many phones have them.

import '@tensorflow/tfjs-backend-webgl';
import { env } from '@tensorflow/tfjs-core';

import { serveOn } from './graph_model.mjs';

export async function start() {
  env().set('WEBGL_FORCE_F16_TEXTURES', true);
  await serveOn('webgl');
  if (env().getBool('WEBGL_RENDER_FLOAT32_ENABLED')) throw new Error('float16 was not forced');
  return 'float16 textures';
}
