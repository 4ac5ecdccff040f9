// The page of `ser demo`: choose a recording, send it, show the prediction.

import { describe, get, initToken, Refused, send } from "./api.js";
import { decode, encodeWav, isReadable } from "./audio.js";
import { begin, drawWave, duration, replaceSource, showPrediction } from "./chart.js";
import { startLive } from "./live.js";
import { initMicrophone, release, toggle } from "./microphone.js";
import { complain, settings, $ } from "./page.js";

let turn = 0; // number of the last choice: late answers to earlier ones are dropped

// ---- choosing -----------------------------------------------------------------------------------

$("file").addEventListener("change", () => {
  if ($("file").files[0]) take($("file").files[0], $("file").files[0].name);
  $("file").value = ""; // so that the same file can be chosen again
});

for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault(); // a file dropped beside the field would replace the page
    $("drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
    const file = kind === "drop" ? event.dataTransfer.files[0] : undefined;
    if (file) take(file, file.name);
  });
}

for (const button of document.querySelectorAll(".example")) {
  button.addEventListener("click", async () => {
    release();
    const mine = ++turn;
    $("result").classList.add("busy");
    try {
      const blob = await (await get(`examples/${button.dataset.number}`)).blob();
      if (mine === turn) await take(blob, button.textContent);
    } catch (error) {
      if (mine !== turn) return;
      $("result").classList.remove("busy");
      complain(describe(error));
    }
  });
}

for (const [button, start] of [["record", record], ["live", startLive]]) {
  $(button).addEventListener("click", () =>
    toggle(button, (stream) => {
      turn++;
      $("result").classList.remove("busy");
      return start(stream);
    }),
  );
}

function record(stream) {
  const recorder = new MediaRecorder(stream);
  const parts = [];
  recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
  let kept = true;
  recorder.addEventListener("stop", () => {
    if (kept) take(new Blob(parts, { type: recorder.mimeType }), "Your recording");
  });
  recorder.start();
  return ({ discard }) => {
    kept = !discard;
    recorder.stop();
  };
}

// ---- predicting ---------------------------------------------------------------------------------

async function take(blob, name) {
  complain("");
  if (blob.size > settings.maxBytes) {
    complain(`${name} is larger than ${settings.maxBytes / 1e6} MB; choose a shorter recording.`);
    return;
  }
  release();
  const mine = ++turn;
  $("result").classList.add("busy");
  begin(name);
  replaceSource($("player"), blob);
  try {
    const audio = await decode(blob);
    if (mine !== turn) return;
    if (audio) drawWave(audio);
    const long = !audio || audio.duration > 2 * settings.window;
    const query = long ? `?window=${settings.window}&hop=${settings.hop}` : "";
    const { answer, file, refusal } = await sendReadable(`predict${query}`, blob, name, audio);
    const prediction = await answer.json();
    if (mine !== turn) return;
    if (refusal) {
      const warning = `this is what the browser decodes, because ${refusal}`;
      prediction.warnings = [warning, ...(prediction.warnings ?? [])];
    }
    showPrediction(prediction);
    const picture = await (await send("log-mel", file)).blob();
    if (mine !== turn) return;
    replaceSource($("mel"), picture);
    $("mel").hidden = false;
  } catch (error) {
    if (mine !== turn) return;
    $("result").hidden = true;
    complain(describe(error));
  } finally {
    if (mine === turn) $("result").classList.remove("busy");
  }
}

/** Send a file, or the samples that this browser decoded if the service cannot use the file. */
async function sendReadable(path, blob, name, audio) {
  if (audio && !isReadable(blob, name)) {
    const file = encodeWav(audio);
    return { answer: await send(path, file), file };
  }
  try {
    return { answer: await send(path, blob), file: blob };
  } catch (error) {
    if (!audio || !(error instanceof Refused) || error.status !== 422) throw error;
    const file = encodeWav(audio);
    return { answer: await send(path, file), file, refusal: describe(error) };
  }
}

// ---- playing ------------------------------------------------------------------------------------

$("stage").addEventListener("click", (event) => {
  const box = $("stage").getBoundingClientRect();
  $("player").currentTime = (duration() * (event.clientX - box.left)) / box.width;
  $("player").play();
});

let frame = 0; // requested by the playback that is followed

function follow() {
  cancelAnimationFrame(frame);
  const share = duration() ? $("player").currentTime / duration() : 0;
  $("head").style.left = `${100 * Math.min(1, share)}%`;
  if (!$("player").paused) frame = requestAnimationFrame(follow);
}
for (const kind of ["play", "seeked", "timeupdate", "loadstart"]) {
  $("player").addEventListener(kind, follow);
}

initToken();
initMicrophone();
