// Shared by the child processes and worker threads: the addon without the TypeScript loader, as native-model.ts childSetup() says.
const setup = JSON.parse(process.env.GME_CHILD_SETUP);
const binding = require(setup.addon);
const items = Array.from({ length: setup.items }, (_, i) => ({ text: `a short caption, number ${i}` }));

module.exports = {
  setup,
  binding,
  open: () => binding.load(setup.model, setup.loadParams).promise,
  embed: (model) => model.embed(items, setup.embedParams).promise,
};
