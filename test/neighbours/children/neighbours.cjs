// What each neighbour does beside our addon: real work with a result that is known. `load` answers that work, which may run twice.
const assert = require("node:assert/strict");
const { createRequire } = require("node:module");
const { join } = require("node:path");
const { pathToFileURL } = require("node:url");
const { productModel } = require("./onnx-model.cjs");

/** The packages of the folder whose node_modules has them. */
const packagesOf = (folder) => createRequire(join(folder, "package.json"));

module.exports = {
  sharp(folder) {
    const sharp = packagesOf(folder)("sharp");
    return async () => {
      const png = await sharp({ create: { width: 8, height: 6, channels: 3, background: "#ff0080" } })
        .png()
        .toBuffer();
      const { data, info } = await sharp(png).resize(4, 3).raw().toBuffer({ resolveWithObject: true });
      assert.deepEqual([info.width, info.height, ...data.subarray(0, 3)], [4, 3, 255, 0, 128]);
      return "a picture encoded, decoded and resized";
    };
  },

  "onnxruntime-node"(folder) {
    const ort = packagesOf(folder)("onnxruntime-node");
    return async () => {
      const session = await ort.InferenceSession.create(productModel());
      const a = new ort.Tensor("float32", [1, 2, 3, 4, 5, 6], [2, 3]);
      const b = new ort.Tensor("float32", [1, 0, 0, 1, 1, 1], [3, 2]);
      const { y } = await session.run({ a, b });
      assert.deepEqual([...y.data], [4, 5, 10, 11]);
      await session.release();
      return "a matrix product inferred";
    };
  },

  "better-sqlite3"(folder) {
    const Database = packagesOf(folder)("better-sqlite3");
    return async () => {
      const database = new Database(":memory:");
      database.exec("create table t (n integer, s text)");
      const insert = database.prepare("insert into t values (?, ?)");
      database.transaction(() => {
        for (let i = 0; i < 1000; i++) insert.run(i, `row ${i}`);
      })();
      assert.deepEqual(database.prepare("select sum(n) n, count(*) c from t").get(), { n: 499_500, c: 1000 });
      database.close();
      return "1,000 rows written and summed";
    };
  },

  "@napi-rs/canvas"(folder) {
    const { createCanvas, loadImage } = packagesOf(folder)("@napi-rs/canvas");
    return async () => {
      const canvas = createCanvas(20, 10);
      const context = canvas.getContext("2d");
      context.fillStyle = "#00ff80";
      context.fillRect(0, 0, 20, 10);
      const picture = await loadImage(canvas.toBuffer("image/png"));
      context.drawImage(picture, 0, 0);
      assert.deepEqual([...context.getImageData(3, 3, 1, 1).data], [0, 255, 128, 255]);
      return "a picture drawn, encoded and decoded";
    };
  },

  async "node-llama-cpp"(folder, { model }) {
    const at = packagesOf(folder).resolve("node-llama-cpp");
    const { getLlama, LlamaLogLevel } = await import(pathToFileURL(at).href);
    const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error });
    let expected;
    return async () => {
      const loaded = await llama.loadModel({ modelPath: model });
      const context = await loaded.createEmbeddingContext();
      const { vector } = await context.getEmbeddingFor("a cat");
      await context.dispose();
      await loaded.dispose();
      assert.equal(vector.length, 64);
      expected ??= [...vector];
      assert.deepEqual([...vector], expected, "the same numbers each time");
      return "the same GGUF embedded by its own ggml";
    };
  },

  "@lancedb/lancedb"(folder, { temporary }) {
    const lancedb = packagesOf(folder)("@lancedb/lancedb");
    return async () => {
      const database = await lancedb.connect(join(temporary, "neighbour"));
      const rows = Array.from({ length: 20 }, (_, i) => ({ id: i, vector: [i, 1, 0] }));
      const table = await database.createTable("t", rows, { mode: "overwrite" });
      const [nearest] = await table.search([7, 1, 0]).limit(1).toArray();
      assert.equal(nearest.id, 7);
      table.close();
      return "20 rows written and searched";
    };
  },
};
