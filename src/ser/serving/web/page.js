// What the modules of the page share: settings, elements, messages.

export const settings = JSON.parse(document.getElementById("settings").textContent);
export const $ = (id) => document.getElementById(id);
export const percent = (value) => `${(100 * value).toFixed(value < 0.1 ? 1 : 0)}%`;

export function make(tag, text, kind = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = kind;
  return element;
}

/** Show an error message, with `commands` as code, or hide it if the message is empty. */
export function complain(message) {
  const text = message && message[0].toUpperCase() + message.slice(1);
  const sentence = text && !/[.!?]$/.test(text) ? `${text}.` : text;
  const pieces = sentence.split("`").map((piece, place) => make(place % 2 ? "code" : "span", piece));
  $("problem").replaceChildren(...pieces);
  $("problem").hidden = !message;
}
