// Requests to the service behind the page. URLs are relative: a proxy may add a path prefix.

import { $ } from "./page.js";

const KEY = "ser-token";

/** A response of the service that is not a success. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function token() {
  return sessionStorage.getItem(KEY) ?? "";
}

/** Take the token from the address (#token=...), or from the form. */
export function initToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem(KEY, given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  const form = $("login");
  if (!form) return;
  form.hidden = token() !== "";
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEY, $("token").value.trim());
    form.hidden = true;
  });
}

/** Forget a token that was refused, and ask for another one. */
export function askToken() {
  sessionStorage.removeItem(KEY);
  if ($("login")) $("login").hidden = false;
}

async function request(path, options = {}) {
  const headers = token() ? { Authorization: `Bearer ${token()}` } : {};
  const answer = await fetch(path, { ...options, headers });
  if (answer.status === 401) askToken();
  if (!answer.ok) throw new Refused(answer.status, await reason(answer));
  return answer;
}

export const get = (path) => request(path);

/** Send a recording, without its name. */
export function send(path, file) {
  const body = new FormData();
  body.append("file", file, "recording");
  return request(path, { method: "POST", body });
}

async function reason(answer) {
  try {
    return (await answer.json()).error;
  } catch {
    return `the server answered ${answer.status}`;
  }
}

/** The message of an error; fetch throws TypeError if there is no connection. */
export const describe = (error) =>
  error instanceof TypeError ? "The server does not answer; is it still running?" : error.message;

/** The address of the live WebSocket. */
export function liveUrl() {
  const url = new URL("live", document.baseURI);
  url.protocol = url.protocol.replace("http", "ws");
  return url;
}
