// The main process: window, menu, and the way between the page and the engine's process. It loads no native code.
import { join } from "node:path";
import {
  app,
  BrowserWindow,
  dialog,
  type IpcMainInvokeEvent,
  ipcMain,
  protocol,
  session,
  shell,
  utilityProcess,
} from "electron";
import { attribution } from "gme-embed";
import { EngineClient, type EngineHost } from "./engine-client";
import { answerCall, pageCalls } from "./page-calls";
import { answerRequest, appOrigin } from "./pages";

protocol.registerSchemesAsPrivileged([{ scheme: "app", privileges: { standard: true, secure: true } }]);
app.enableSandbox();
app.setAboutPanelOptions({ applicationName: "GME Search", credits: attribution });

let window: BrowserWindow | undefined;

function startEngine(device: string): EngineHost {
  const args = [join(app.getPath("userData"), "index"), process.env.GME_MODEL ?? "", device];
  return utilityProcess.fork(join(__dirname, "engine.js"), args, { serviceName: "GME engine" });
}

const engine = new EngineClient(startEngine, (event) => window?.webContents.send("gme:event", event));

const calls = pageCalls(engine, {
  async chooseFolder() {
    const { filePaths } = await dialog.showOpenDialog({ properties: ["openDirectory"] });
    return filePaths[0];
  },
  showFile: (path) => shell.showItemInFolder(path),
});

/** Only the page itself may call, not a frame that something put into it. */
function isOwnPage({ senderFrame }: IpcMainInvokeEvent): boolean {
  return senderFrame !== null && senderFrame.parent === null && senderFrame.url.startsWith(`${appOrigin}/`);
}

for (const [name, work] of Object.entries(calls)) {
  ipcMain.handle(`gme:${name}`, (event, argument: unknown) => {
    if (!isOwnPage(event)) throw new Error("Not called by the app's page");
    return answerCall(work, argument);
  });
}

async function openWindow(): Promise<void> {
  window = new BrowserWindow({
    width: 1100,
    height: 760,
    webPreferences: {
      preload: join(__dirname, "preload.js"),
      contextIsolation: true,
      sandbox: true,
      nodeIntegration: false,
    },
  });
  window.on("closed", () => {
    window = undefined;
  });
  window.webContents.setWindowOpenHandler(() => ({ action: "deny" }));
  window.webContents.on("will-navigate", (event) => event.preventDefault());
  await window.loadURL(`${appOrigin}/`);
}

async function start(): Promise<void> {
  await app.whenReady();
  session.defaultSession.setPermissionRequestHandler((_contents, _permission, allow) => allow(false));
  protocol.handle("app", ({ url }) => answerRequest(url, (key) => engine.call("thumbnail", key)));
  await openWindow();
}

app.on("second-instance", () => window?.focus());
app.on("window-all-closed", () => app.quit());

let isClosed = false;
app.on("will-quit", (event) => {
  if (isClosed) return;
  event.preventDefault(); // until the index is closed
  void engine.close().finally(() => {
    isClosed = true;
    app.quit();
  });
});

// Two of them would want to write one index.
if (app.requestSingleInstanceLock()) void start();
else app.quit();
