// Builds every page: src/NAME/index.html with src/NAME/main.js becomes static/NAME.html and files under static/assets/
// whose names hold a hash of what is in them. The same sources give the same bytes, on every machine: a test holds that.
//
//   node build.mjs [FOLDER]    into FOLDER, by default ../mediaserver/web/static
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const target = path.resolve(process.argv[2] ?? path.join(here, "..", "mediaserver", "web", "static"));

async function pages() {
  const found = [];
  for (const entry of await readdir(path.join(here, "src"), { withFileTypes: true })) {
    if (entry.isDirectory() && entry.name !== "common") found.push(entry.name);
  }
  return found.sort();
}

async function bundle(names) {
  return build({
    absWorkingDir: here,
    entryPoints: {
      icon: "src/common/icon.svg",
      ...Object.fromEntries(names.map((name) => [name, `src/${name}/main.js`])),
    },
    outdir: path.join(target, "assets"),
    entryNames: "[name]-[hash]",
    bundle: true,
    format: "esm",
    target: ["es2022"],
    minify: true,
    charset: "utf8",
    legalComments: "none", // licences.txt has them, whole
    loader: { ".svg": "copy" },
    define: { "process.env.NODE_ENV": '"production"' },
    metafile: true,
    write: false,
    logLevel: "warning",
  });
}

// The licence texts of what went into the bundles: BSD and MIT want them to come along.
async function licences(inputs) {
  const packages = new Set();
  for (const input of inputs) {
    const found = /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
    if (found) packages.add(found[1]);
  }
  const parts = ["The scripts in this folder contain these packages.\n"];
  for (const name of [...packages].sort()) {
    const folder = path.join(here, "node_modules", name);
    const about = JSON.parse(await readFile(path.join(folder, "package.json"), "utf8"));
    const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file ? await readFile(path.join(folder, file), "utf8") : `Licence: ${about.license}\n`;
    parts.push(`${"-".repeat(72)}\n${name} ${about.version} (${about.license})\n\n${text.trim()}\n`);
  }
  return parts.join("\n");
}

// Names the bundle's files in the page, with a hash that the browser checks.
async function page(name, outputs) {
  const tags = [];
  for (const [ending, tag] of [
    [".css", (url, hash) => `<link rel="stylesheet" href="${url}" integrity="${hash}">`],
    [".js", (url, hash) => `<script type="module" src="${url}" integrity="${hash}"></script>`],
  ]) {
    for (const file of outputs.filter((output) => output.entry === name && output.path.endsWith(ending))) {
      const hash = `sha384-${createHash("sha384").update(file.contents).digest("base64")}`;
      tags.push(tag(`/assets/${path.basename(file.path)}`, hash));
    }
  }
  const html = await readFile(path.join(here, "src", name, "index.html"), "utf8");
  const icon = outputs.find((output) => /icon-\w+\.svg$/.test(output.path));
  if (icon) tags.unshift(`<link rel="icon" type="image/svg+xml" href="/assets/${path.basename(icon.path)}">`);
  if (!html.includes("<!--bundle-->")) throw new Error(`src/${name}/index.html has no <!--bundle--> in its head`);
  return html.replace("<!--bundle-->", tags.join("\n"));
}

const names = await pages();
const result = await bundle(names);
const outputs = result.outputFiles.map((file) => {
  const entry = names.find((name) => path.basename(file.path).startsWith(`${name}-`));
  return { path: file.path, contents: file.contents, entry };
});
await rm(target, { recursive: true, force: true });
await mkdir(path.join(target, "assets"), { recursive: true });
for (const output of outputs) await writeFile(output.path, output.contents);
for (const name of names) await writeFile(path.join(target, `${name}.html`), await page(name, outputs));
await writeFile(path.join(target, "licences.txt"), await licences(Object.keys(result.metafile.inputs).sort()));
