// Starts Chromium so that all backends run without a GPU and nothing leaves this machine.

import { chromium } from 'playwright-core';

const GRAPHICS = [
  '--use-gl=angle',
  '--use-angle=swiftshader',
  '--enable-unsafe-swiftshader',
  '--ignore-gpu-blocklist',
  '--enable-unsafe-webgpu',
  '--enable-features=Vulkan',
  '--use-webgpu-adapter=swiftshader',
  '--use-vulkan=swiftshader',
];
const QUIET = [
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--force-webrtc-ip-handling-policy=disable_non_proxied_udp',
];

// Every request, those to this machine included, goes to our server as to a proxy; it refuses
// what is not its own.
export function launch(executablePath, origin) {
  return chromium.launch({
    executablePath,
    headless: true,
    chromiumSandbox: process.getuid() !== 0,
    args: [...GRAPHICS, ...QUIET],
    proxy: { server: origin },
  });
}
