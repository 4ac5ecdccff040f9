// The microphone, for one recording or live session at a time.

import { complain, $ } from "./page.js";

const LONGEST_RECORDING = 30; // seconds

let stop = null; // ends what uses the microphone
let opening = null; // the microphone that is asked for: a second click would open another one

/** Disable the buttons where browsers give no access to the microphone. */
export function initMicrophone() {
  if (navigator.mediaDevices?.getUserMedia) return;
  $("record").disabled = $("live").disabled = true;
  $("record-note").textContent =
    "Browsers allow the microphone only for pages on this machine or over HTTPS.";
}

/**
 * Open the microphone for a button, or end what it began.
 *
 * `begin` receives the stream and returns a function that is called at the end, with
 * `discard: true` if something else takes the place of the recording.
 */
export async function toggle(button, begin) {
  if (stop) {
    if (stop.button === button) stop();
    return;
  }
  if (opening) return;
  const mine = (opening = { cancelled: false });
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    const finish = mine.cancelled ? null : await begin(stream);
    if (mine.cancelled) {
      finish?.({ discard: true });
      close(stream);
    } else {
      use(stream, button, finish);
    }
  } catch (error) {
    close(stream);
    complain(`The microphone cannot be used: ${error.message}`);
  } finally {
    opening = null;
  }
}

function close(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

/** End a recording, which is discarded, or a live session, also one that has not begun. */
export function release() {
  if (opening) opening.cancelled = true;
  stop?.({ discard: true });
}

function use(stream, button, finish) {
  const label = $(`${button}-label`);
  const other = $(button === "record" ? "live" : "record");
  const words = label.textContent;
  const stopMeter = startMeter(stream, (seconds) => {
    label.textContent = `Stop (${seconds.toFixed(0)} s)`;
    if (button === "record" && seconds >= LONGEST_RECORDING) stop?.();
  });
  $(button).classList.add("active");
  other.disabled = true;
  stop = ({ discard = false } = {}) => {
    stop = null;
    stopMeter();
    $(button).classList.remove("active");
    other.disabled = false;
    label.textContent = words;
    finish({ discard });
    close(stream);
  };
  stop.button = button;
}

/** Show the level of a stream, and call `tick` with the seconds since the start. */
function startMeter(stream, tick) {
  const started = performance.now();
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  $("level").hidden = false;
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    $("level").value = Math.min(1, 1.5 * Math.max(...samples.map(Math.abs)));
    tick((performance.now() - started) / 1000);
  }, 100);
  return () => {
    clearInterval(timer);
    context.close();
    $("level").hidden = true;
  };
}
