/** Takes files and folders that are dropped anywhere on the window; a dropped link or text is not opened either. */
export function dropZone(marked: HTMLElement, onFiles: (files: File[]) => void): void {
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    marked.classList.add("dropping");
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) marked.classList.remove("dropping");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    marked.classList.remove("dropping");
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length > 0) onFiles(files);
  });
}
