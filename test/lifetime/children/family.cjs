// A parent whose model computes all the time forks processes and starts cluster workers; each embeds and ends. Prints JSON.
const { fork } = require("node:child_process");
const cluster = require("node:cluster");
const { embed, open } = require("./setup.cjs");

const hex = (vectors) => Buffer.from(vectors.buffer).toString("hex");

async function child() {
  const model = await open();
  const vectors = hex(await embed(model));
  await model.close();
  process.send(vectors, () => process.disconnect());
}

const answerOf = (process) =>
  new Promise((resolve, reject) => {
    let answer;
    process.on("message", (message) => {
      answer = message;
    });
    process.on("exit", (code, signal) => (code === 0 ? resolve(answer) : reject(new Error(`${code} ${signal}`))));
  });

async function parent() {
  const model = await open();
  const expected = hex(await embed(model));
  let isOver = false;
  const busy = (async () => {
    while (!isOver) await embed(model);
  })();
  cluster.setupPrimary({ exec: __filename, args: ["child"] });
  const members = [];
  for (let i = 0; i < 3; i++) members.push(fork(__filename, ["child"]), cluster.fork().process);
  const children = await Promise.all(members.map(answerOf));
  isOver = true;
  await busy;
  await model.close();
  console.log(JSON.stringify({ parent: expected, children }));
}

if (process.argv[2] === "child") child();
else parent();
