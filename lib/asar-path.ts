/** Electron reads scripts from inside an asar archive; the system's loader and mapped files need the copy that was unpacked beside it. */
export function besideAsar(path: string): string {
  return path.replace(/([\\/])app\.asar(?=[\\/]|$)/, "$1app.asar.unpacked");
}
