// Enhancement only: without this file every link and form still works.
import { localize } from "./time.js";
import { startQueue } from "./queue.js";
import { startKeys } from "./keys.js";

document.documentElement.classList.add("scripted");
localize(document);
setInterval(() => localize(document, "ago"), 30_000);

const queue = document.querySelector('[data-page="queue"]') ? startQueue() : null;
startKeys(queue);
