// Runs in the page's process, sandboxed, beside a page that has nothing of Node: this is all it gets.
import { contextBridge, ipcRenderer, webUtils } from "electron";
import type { PageApi } from "./protocol";

const api: PageApi = {
  status: () => ipcRenderer.invoke("gme:status"),
  // The page holds files, not paths: it can name only what was really dropped on it.
  indexDropped: (files) =>
    ipcRenderer.invoke(
      "gme:index",
      files.map((file) => webUtils.getPathForFile(file)),
    ),
  indexChosen: () => ipcRenderer.invoke("gme:choose"),
  stop: () => ipcRenderer.invoke("gme:stop"),
  search: (query) => ipcRenderer.invoke("gme:search", query),
  show: (key) => ipcRenderer.invoke("gme:show", key),
  onEvent: (listener) => void ipcRenderer.on("gme:event", (_event, data) => listener(data)),
};

contextBridge.exposeInMainWorld("gme", api);
