import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fill, pick } from "../src/common/i18n.js";
import { words } from "../src/desk/words.js";

test("the chosen language goes before the browser's, and what we do not speak is English", () => {
  assert.equal(pick("ru", ["en-GB"]), "ru");
  assert.equal(pick(null, ["de-DE", "ru-RU", "en"]), "ru");
  assert.equal(pick("xx", ["de"]), "en");
});

test("names are filled in, unknown ones stay, and counts take the form of their language", () => {
  assert.equal(fill("{who} calls {what}", { who: "Ann" }, "en"), "Ann calls {what}");
  const russian = "{count} участник|{count} участника|{count} участников";
  assert.deepEqual([1, 2, 5, 21].map((count) => fill(russian, { count }, "ru")),
    ["1 участник", "2 участника", "5 участников", "21 участник"]);
  assert.equal(fill("{count} member|{count} members|{count} members", { count: 2 }, "en"), "2 members");
});

test("the desk speaks both languages, and every word its page asks for", () => {
  assert.deepEqual(Object.keys(words.en), Object.keys(words.ru));
  const html = readFileSync(new URL("../src/desk/index.html", import.meta.url), "utf8");
  for (const [, key] of html.matchAll(/data-word="(\w+)"/g)) assert.ok(key in words.en, key);
});

test("the desk names every role of a leg", () => {
  for (const role of ["caller", "callee"]) assert.ok(role in words.en);
  assert.match(readFileSync(new URL("../src/desk/main.js", import.meta.url), "utf8"), /word\[leg\.role\]/);
});
