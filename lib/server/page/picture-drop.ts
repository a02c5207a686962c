import { byId } from "./page-elements";

/** Pictures that are dropped anywhere, pasted or chosen; a dropped link or text is not opened either. */
export function takePictures(onPicture: (file: File) => void): void {
  const veil = byId("drop");
  const isBlocked = () => document.querySelector("dialog[open]") !== null;
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    const hasFile = event.dataTransfer?.types.includes("Files") === true && !isBlocked();
    if (event.dataTransfer !== null) event.dataTransfer.dropEffect = hasFile ? "copy" : "none";
    veil.hidden = !hasFile;
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) veil.hidden = true;
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    veil.hidden = true;
    take(event.dataTransfer?.files);
  });
  document.addEventListener("paste", (event) => {
    if (take(event.clipboardData?.files)) event.preventDefault();
  });
  const file = byId<HTMLInputElement>("file");
  byId("choose").addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    take(file.files);
    file.value = ""; // the same file can be chosen again
  });

  function take(files: FileList | null | undefined): boolean {
    const [first] = files ?? [];
    if (first === undefined || isBlocked()) return false;
    onPicture([...(files as FileList)].find(({ type }) => type.startsWith("image/")) ?? first);
    return true;
  }
}
