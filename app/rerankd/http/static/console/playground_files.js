import { announce, toast } from "./notices.js";
import { MOST_PICTURES, take } from "./pictures.js";

const MOST_BYTES = 8_000_000;

const isPicture = (file) => file.type.startsWith("image/");

/**
 * Take files from wherever they come: chosen, dropped or pasted, by mouse or keyboard.
 *
 * `onText(text, file)` gets a text file's documents, `onPicture(picture, forQuery)` each picture.
 */
export class FileIntake {
  #onText;
  #onPicture;
  #parts;
  #room;
  #onPaste = (event) => this.#paste(event);

  /** `room()` says how many pictures there are already. */
  constructor(parts, { onText, onPicture, room }) {
    this.#parts = parts;
    this.#onText = onText;
    this.#onPicture = onPicture;
    this.#room = room;
    for (const [input, forQuery] of [[parts.file, false], [parts.queryFile, true]]) {
      input.addEventListener("change", async () => {
        const files = [...input.files];
        input.value = "";
        await this.#read(files, forQuery);
      });
    }
    this.#takeDrops();
    document.addEventListener("paste", this.#onPaste);
  }

  end() {
    document.removeEventListener("paste", this.#onPaste);
  }

  #isQuery = (element) => this.#parts.queryField.contains(element);

  async #read(files, forQuery) {
    const taken = [];
    for (const file of files) {
      try {
        taken.push(await this.#readOne(file, forQuery));
      } catch (error) {
        toast(error.message);
      }
    }
    if (taken.length) announce(`${taken.join(", ")}: ${this.#parts.documentCount.textContent}`);
  }

  async #readOne(file, forQuery) {
    if (isPicture(file)) {
      if (!forQuery && this.#room() >= MOST_PICTURES) throw new Error(`The playground takes ${MOST_PICTURES} pictures at most`);
      this.#onPicture(await take(file), forQuery);
    } else if (forQuery) {
      throw new Error(`${file.name} is no picture`);
    } else if (file.size > MOST_BYTES) {
      throw new Error("This file is too large for the playground");
    } else {
      this.#onText(await file.text());
    }
    return file.name;
  }

  /** A text on the clipboard goes where the cursor is, even if a picture of it comes along. */
  #paste(event) {
    const pictures = [...(event.clipboardData?.files ?? [])].filter(isPicture);
    const isTyped = event.target.closest?.("textarea, input") && event.clipboardData.types.includes("text/plain");
    if (!pictures.length || isTyped || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    this.#read(pictures, this.#isQuery(event.target));
  }

  #takeDrops() {
    const { form } = this.#parts;
    const over = (event, on) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      const forQuery = on && this.#isQuery(event.target);
      this.#parts.queryField.classList.toggle("dropping", forQuery);
      form.classList.toggle("dropping", on && !forQuery);
    };
    form.addEventListener("dragover", (event) => over(event, true));
    form.addEventListener("dragleave", (event) => over(event, false));
    form.addEventListener("drop", (event) => {
      over(event, false);
      this.#read([...(event.dataTransfer?.files ?? [])], this.#isQuery(event.target));
    });
  }
}
