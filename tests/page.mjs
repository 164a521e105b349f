// The script of streams/web/page.html with a document of a few lines, and answers that come when the test says so.
//
//     node tests/page.mjs streams/web/page.html          prints "ok", or what was expected and is not

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { setImmediate as settled } from "node:timers/promises";
import vm from "node:vm";

class Element {
  constructor(name) { Object.assign(this, { name, children: [], heard: {}, own: "" }); }
  get caption() { return this.part("caption"); }
  get tHead() { return this.part("thead"); }
  get tBodies() { return [this.part("tbody")]; }
  get textContent() { return this.own + this.children.map(child => child.textContent ?? child).join(" "); }
  set textContent(text) { this.own = String(text); this.children = []; }
  part(name) { return (this.parts ??= {})[name] ??= new Element(name); }
  append(...children) { this.children.push(...children); }
  replaceChildren(...children) { this.children = children; }
  setAttribute() {}
  addEventListener(kind, hear) { this.heard[kind] = hear; }
}

const found = {}, asked = [], timers = [];
const document = new Element("document");
document.hidden = false;
document.createElement = name => new Element(name);
document.getElementById = id => found[id] ??= new Element(id);
document.getElementById("filter").elements = { text: { value: "" }, window: { value: "" }, trouble: { checked: false } };

function fetch(path, { signal }) {
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason));
    asked.push({ path, signal, answer: (body, ok = true) => resolve({ ok, json: async () => body }) });
  });
}

const page = readFileSync(process.argv[2], "utf8"), script = page.split("<script>")[1].split("</script>")[0];
const after = (pause, wait) => timers.push({ pause, wait });
vm.runInNewContext(script, { document, fetch, AbortController, Error, setTimeout: after, clearTimeout() {}, setInterval: after });

const line = (slo, state) => ({ slo, objective: "o", entity: "SAT-1", state, target: 0.99, sli: 0.98, budget_remaining: 0.5,
  burn_rate: { "1h": 2, "1d": 1 }, unknown: 0, credit: null, from: "2026-11-23T11:00:00Z" });
const tick = () => timers.filter(each => each.wait === 10000).forEach(each => each.pause());
const levels = () => found.levels.tBodies[0].textContent, when = () => found.when.textContent;
const choose = over => {
  found.filter.elements.window.value = over;
  found.filter.heard.input({ target: { name: "window" } });
};

// Two questions at the start. While they are out, time asks nothing more.
assert.deepEqual(asked.map(each => each.path), ["/api/v1/slo", "/api/v1/alerts"]);
tick();
assert.equal(asked.length, 2);
asked[0].answer([line("first", "ok"), line("worst", "breached")]);
asked[1].answer([]);
await settled();
assert.match(levels(), /worst.*first/s);
assert.match(when(), /^as of/);

// Asked for other times before the first ones are answered: only the last choice is shown, whichever answer comes last.
tick();
choose("1h");
choose("6h");
assert.deepEqual(asked.slice(2).map(each => each.path).filter(path => path.includes("slo")),
  ["/api/v1/slo", "/api/v1/slo?window=1h", "/api/v1/slo?window=6h"]);
assert.deepEqual(asked.slice(2).map(each => each.signal.aborted), [true, true, true, true, false, false]);
asked[6].answer([line("newest", "ok")]);
asked[7].answer([]);
await settled();
for (const old of asked.slice(2, 6)) old.answer([line("older", "ok")]);
await settled();
assert.match(levels(), /newest/);
assert.match(when(), /^as of/);

// A failure is told over what was known; the next answer takes it away.
tick();
asked[8].answer({ error: "the database is away" }, false);
await settled();
assert.equal(when(), "no answer, what follows is older: the database is away");
assert.match(levels(), /newest/);
tick();
assert.equal(asked.length, 12);
asked[10].answer([line("again", "ok")]);
asked[11].answer([]);
await settled();
assert.match(levels(), /again/);
assert.match(when(), /^as of/);

// Whoever does not answer within a minute is asked again.
tick();
timers.filter(each => each.wait === 60000).at(-1).pause();
await settled();
assert.match(when(), /nothing within a minute$/);
tick();
assert.equal(asked.length, 16);
console.log("ok");
