// Runs in the page before its own scripts: what examples/electron/src/preload.ts exposes. The calls go over callMain, the path of a dropped
// file comes from droppedPath; both are functions of test/electron/page.test.ts, which sends events to window.emit.
const listeners = [];
window.emit = (event) => {
  for (const listener of listeners) listener(event);
};
window.gme = {
  status: () => window.callMain("status"),
  indexDropped: async (files) =>
    window.callMain("index", await Promise.all(files.map(({ name }) => window.droppedPath(name)))),
  indexChosen: () => window.callMain("choose"),
  stop: () => window.callMain("stop"),
  search: (query) => window.callMain("search", query),
  show: (key) => window.callMain("show", key),
  onEvent: (listener) => void listeners.push(listener),
};
