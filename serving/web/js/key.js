/** The API key of this tab, requested from the visitor where the service needs one, and stored until the tab closes. */

import { byId } from "./dom.js";

const STORED = "recsys.key";

let asking = null;

export const key = () => sessionStorage.getItem(STORED);

/** Forget a key that was refused, unless another has taken its place. */
export function forgetKey(refused) {
  if (key() === refused) sessionStorage.removeItem(STORED);
}

/** Resolves when there is a key; requests that fail together open one dialog. */
export function keyFromVisitor(wasRefused) {
  if (key() !== null) return Promise.resolve();
  asking ??= askVisitor(wasRefused).finally(() => {
    asking = null;
  });
  return asking;
}

function askVisitor(wasRefused) {
  const dialog = byId("key-dialog");
  byId("key-refused").hidden = !wasRefused;
  return new Promise((done) => {
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.querySelector("form").addEventListener("submit", function taken(event) {
      event.preventDefault();
      const field = byId("key-field");
      if (field.value.trim() === "") return;
      sessionStorage.setItem(STORED, field.value.trim());
      field.value = "";
      event.currentTarget.removeEventListener("submit", taken);
      dialog.close();
      done();
    });
    dialog.showModal();
  });
}
