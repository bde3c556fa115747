// The only server that the page can reach: its own files, the shared models, and one slot each
// for the tensors that go in and come out. Every path begins with a word that only the page which
// was opened knows, so that no other program or page of this machine is answered.

import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { readFile, realpath } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm' };
const RUNTIMES = {
  tfjs: path.dirname(require.resolve('@tensorflow/tfjs-backend-wasm')),
  litert: path.join(HERE, 'node_modules', '@litertjs', 'core', 'wasm'),
};
// The page is isolated so that WebAssembly may have threads.
const HEADERS = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cache-Control': 'no-store',
};

// How much a page may send of one run's tensors.
const MOST_BYTES = 2 ** 31;

class NotFound extends Error {}
class Refused extends Error {}

export class Server {
  #scripts = new Map();
  #shared = new Map();
  #next = 1;
  #word = randomBytes(16).toString('hex');
  inputs = Buffer.alloc(0);
  outputs = Buffer.alloc(0);

  static start() {
    const server = new Server();
    const http = createServer((request, response) => server.#answer(request, response));
    http.on('connect', (request, socket) => server.#refuse(socket));
    http.on('upgrade', (request, socket) => server.#refuse(socket));
    return new Promise((resolve) => {
      http.listen(0, '127.0.0.1', () => {
        server.origin = `http://127.0.0.1:${http.address().port}`;
        server.page = `${server.origin}/${server.#word}/`;
        resolve(server);
      });
    });
  }

  // The number under which a file or folder is served: /model/NUMBER/...
  share(file) {
    this.#shared.set(String(this.#next), file);
    return this.#next++;
  }

  unshare(id) {
    this.#shared.delete(String(id));
  }

  #refuse(socket) {
    socket.on('error', () => socket.destroy()); // who asked may be gone already
    socket.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n');
  }

  async #answer(request, response) {
    try {
      const [type, body] = await this.#body(request, this.#asked(request));
      response.writeHead(200, { ...HEADERS, 'Content-Type': type }).end(body);
    } catch (error) {
      if (error instanceof Refused) {
        response.writeHead(403, { Connection: 'close' }).end();
        return;
      }
      const missing = error instanceof NotFound || error.code === 'ENOENT' || error.code === 'EISDIR';
      response.writeHead(missing ? 404 : 500, HEADERS).end(String(error.message));
    }
  }

  // The path that is asked for, in parts, decoded; Refused unless our own page asks.
  #asked(request) {
    const { host, origin } = request.headers;
    if (`http://${host}` !== this.origin || ![undefined, this.origin].includes(origin)) throw new Refused();
    let parts;
    try {
      parts = new URL(request.url, this.origin).pathname.slice(1).split('/').map(decodeURIComponent);
    } catch {
      throw new Refused();
    }
    if (parts.shift() !== this.#word) throw new Refused();
    return parts;
  }

  async #body(request, [room, ...rest]) {
    const name = rest.join('/');
    if (room === '') return this.#file(path.join(HERE, 'frame'), 'page.html');
    if (room === 'frame') return this.#file(path.join(HERE, 'frame'), 'frame.html');
    if (room === 'script') return ['text/javascript', await this.#script(name)];
    if (room === 'inputs') return ['application/octet-stream', this.inputs];
    if (room === 'outputs' && request.method === 'POST') return ['text/plain', await this.#keep(request)];
    if (room === 'model') return this.#model(rest[0], rest.slice(1).join('/'));
    if (Object.hasOwn(RUNTIMES, room)) return this.#file(RUNTIMES[room], name);
    throw new NotFound(`there is nothing at ${room}/${name}`);
  }

  #model(id, name) {
    const shared = this.#shared.get(id);
    if (shared === undefined) throw new NotFound(`there is no model ${id}`);
    return name ? this.#file(shared, name) : this.#file(path.dirname(shared), path.basename(shared));
  }

  // Where a name leads in a folder, links followed: NotFound where that is outside.
  async #inside(folder, name) {
    if (name.includes('\0')) throw new NotFound('a name with a null character');
    const file = await realpath(path.resolve(folder, name));
    if (!file.startsWith((await realpath(folder)) + path.sep)) throw new NotFound(`${name} is outside`);
    return file;
  }

  async #file(folder, name) {
    const file = await this.#inside(folder, name);
    const type = TYPES[path.extname(file)] ?? 'application/octet-stream';
    return [type, await readFile(file)];
  }

  async #keep(request) {
    const parts = [];
    let size = 0;
    for await (const part of request) {
      size += part.length;
      if (size > MOST_BYTES) throw new Error('more bytes than any run has');
      parts.push(part);
    }
    this.outputs = Buffer.concat(parts);
    return '';
  }

  // A backend's script and all that it imports as one file.
  async #script(name) {
    if (!this.#scripts.has(name)) {
      const entry = await this.#inside(path.join(HERE, 'frame'), name);
      const options = { bundle: true, write: false, format: 'esm', target: 'es2022', logLevel: 'silent' };
      const made = await build({ entryPoints: [entry], ...options });
      this.#scripts.set(name, made.outputFiles[0].contents);
    }
    return this.#scripts.get(name);
  }
}
