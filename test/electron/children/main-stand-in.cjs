// Runs the example's main process (argv: build/src/main.js, a folder for user data) with a stand-in for the module "electron" that notes
// what it is told, and prints it as JSON. Nothing of Electron's own behaviour is imitated beyond that.
const Module = require("node:module");
const { EventEmitter } = require("node:events");

const [mainScript, userData] = process.argv.slice(2);
const notes = { forks: [], shown: [], permissions: [], options: undefined, url: undefined };
const handlers = {};
let scheme;
let answer;

class Engine extends EventEmitter {
  postMessage({ id, method, params }) {
    const value = {
      status: { entries: 0 },
      pathOf: params[0] === "good" ? "/a.png" : undefined,
      thumbnail: Uint8Array.of(1),
    };
    setImmediate(() => this.emit("message", { id, answer: { value: value[method] } }));
  }
}

class BrowserWindow extends EventEmitter {
  constructor(options) {
    super();
    notes.options = options.webPreferences;
    this.webContents = Object.assign(new EventEmitter(), {
      send: () => undefined,
      setWindowOpenHandler: (open) => {
        notes.windowOpen = open({ url: "https://example.org" }).action;
      },
    });
  }
  async loadURL(url) {
    notes.url = url;
    let isPrevented = false;
    this.webContents.emit("will-navigate", { preventDefault: () => (isPrevented = true) });
    notes.navigation = isPrevented ? "prevented" : "allowed";
  }
}

const app = Object.assign(new EventEmitter(), {
  enableSandbox: () => (notes.sandbox = true),
  setAboutPanelOptions: ({ credits }) => (notes.credits = credits),
  getPath: () => userData,
  whenReady: async () => undefined,
  requestSingleInstanceLock: () => true,
  quit: () => (notes.quit = true),
});
const electron = {
  app,
  BrowserWindow,
  dialog: { showOpenDialog: async () => ({ filePaths: [] }) },
  ipcMain: { handle: (name, handler) => (handlers[name] = handler) },
  protocol: {
    registerSchemesAsPrivileged: ([first]) => (scheme = first),
    handle: (_name, handler) => (answer = handler),
  },
  session: {
    defaultSession: { setPermissionRequestHandler: (ask) => ask({}, "media", (is) => notes.permissions.push(is)) },
  },
  shell: { showItemInFolder: (path) => notes.shown.push(path) },
  utilityProcess: {
    fork: (...args) => {
      notes.forks.push(args);
      return new Engine();
    },
  },
};
const load = Module._load;
Module._load = (name, ...rest) => (name === "electron" ? electron : load(name, ...rest));
require(mainScript);

const frame = (url, parent = null) => ({ senderFrame: { url, parent } });
const call = async (event, name, argument) => {
  try {
    return await handlers[`gme:${name}`](event, argument);
  } catch (error) {
    return error.message;
  }
};

async function run() {
  await new Promise((next) => setTimeout(next, 200));
  const own = frame("app://gme/");
  notes.own = await call(own, "status");
  notes.strangers = [];
  for (const event of [
    frame("https://example.org/"),
    frame("app://gmex/"),
    frame("app://gme/", {}),
    { senderFrame: null },
  ])
    notes.strangers.push(await call(event, "status"));
  await call(own, "show", "good");
  notes.noFolder = await call(own, "choose");
  notes.scheme = scheme;
  notes.page = (await answer({ url: "app://gme/" })).status;
  notes.thumbnail = (await answer({ url: `app://gme/thumbnail/${"a".repeat(64)}` })).headers.get("content-type");
  notes.handlers = Object.keys(handlers).sort();
  let isHeld = false;
  app.emit("will-quit", { preventDefault: () => (isHeld = true) });
  await new Promise((next) => setTimeout(next, 50));
  notes.quitHeld = isHeld;
  console.log(JSON.stringify(notes));
}

void run();
