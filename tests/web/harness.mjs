// A browser, and a server on loopback that gives it the package and the tests. Both end with the function they are for.
import { createServer } from 'node:http';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const HERE = path.dirname(fileURLToPath(import.meta.url));
/** What is served, by the first part of its path. */
const FOLDERS = {
  web: path.join(HERE, '../../web'),
  page: path.join(HERE, 'page'),
  dist: path.join(HERE, 'dist'),
};
const TYPES = { '.js': 'text/javascript', '.mjs': 'text/javascript', '.wasm': 'application/wasm', '.html': 'text/html' };
const ARGUMENTS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

const serve = async () => {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    const [, folder, ...rest] = decodeURIComponent(pathname).split('/');
    try {
      if (pathname === '/') {
        response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>tests</title>');
        return;
      }
      const file = path.join(FOLDERS[folder] ?? '', ...rest);
      if (!FOLDERS[folder] || !file.startsWith(FOLDERS[folder] + path.sep)) throw new Error('not served');
      const body = await readFile(file);
      response.writeHead(200, { 'content-type': TYPES[path.extname(file)] ?? 'text/plain' }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
};

/** Gives `use` a browser with a fresh profile. */
export const withBrowser = async (use) => {
  const server = await serve();
  const profile = await mkdtemp(path.join(tmpdir(), 'trilith-web-'));
  const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
  let context;
  try {
    context = await chromium.launchPersistentContext(profile, { executablePath, args: ARGUMENTS });
    return await use(new Browser(context, `http://localhost:${server.address().port}`));
  } finally {
    await context?.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  }
};

export class Browser {
  #main;

  constructor(context, origin) {
    this.context = context;
    this.origin = origin;
  }

  /** A tab at the origin. */
  async tab() {
    const page = await this.context.newPage();
    page.on('pageerror', (error) => console.log(`  in the page: ${error.stack}`));
    await page.goto(`${this.origin}/`);
    return page;
  }

  async #page() {
    this.#main ??= await this.tab();
    return this.#main;
  }

  async namesIn(file) {
    const page = await this.#page();
    return page.evaluate(async (url) => Object.keys(await import(url)), `/page/${file}`);
  }

  /** A test of a file in page/, in a tab of its own. */
  async runInPage(file, name) {
    const page = await this.tab();
    try {
      return await page.evaluate(async ([url, name]) => (await import(url))[name](), [`/page/${file}`, name]);
    } finally {
      await page.close();
    }
  }
}
