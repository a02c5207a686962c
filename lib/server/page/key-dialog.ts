import { byId } from "./page-elements";

/** Asks for the server's key; undefined where it is not given. */
export function askKey(wasRefused: boolean): Promise<string | undefined> {
  const dialog = byId<HTMLDialogElement>("key");
  const value = byId<HTMLInputElement>("key-value");
  byId("key-note").textContent = wasRefused ? "The server does not take that key." : "";
  value.value = "";
  return new Promise((resolve) => {
    let given: string | undefined;
    const submit = () => {
      given = value.value.trim() || undefined;
    };
    const cancel = () => dialog.close();
    byId("key-form").addEventListener("submit", submit);
    byId("key-cancel").addEventListener("click", cancel);
    dialog.addEventListener(
      "close",
      () => {
        byId("key-form").removeEventListener("submit", submit);
        byId("key-cancel").removeEventListener("click", cancel);
        value.value = "";
        resolve(given);
      },
      { once: true },
    );
    dialog.showModal();
    value.focus();
  });
}
