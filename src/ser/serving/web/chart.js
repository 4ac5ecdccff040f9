// The prediction on the page: bars, segments, waveform, and the history of a live session.

import { mix } from "./audio.js";
import { make, percent, settings, $ } from "./page.js";

const HISTORY = 60; // results of a live session that are shown

let length = 0; // of the recording in seconds

export const duration = () => length;
const hue = (label) => `var(--hue-${settings.labels.indexOf(label) % 8})`;

/** Clear the page for a new recording or a live session. */
export function begin(name, { live = false } = {}) {
  $("result").hidden = false;
  $("name").textContent = name;
  $("answer").textContent = live ? "Listening…" : "Predicting…";
  for (const id of ["mel", "segments", "listing", "wave", "warnings"]) $(id).hidden = true;
  for (const id of ["axis", "legend", "rows", "segments", "history"]) $(id).replaceChildren();
  for (const id of ["player", "tracks"]) $(id).hidden = live;
  for (const id of ["timeline", "latency"]) $(id).hidden = !live;
  $("latency").textContent = "";
  if (live || !$("bars").childElementCount) showBars({});
}

export function replaceSource(element, blob) {
  if (element.src) URL.revokeObjectURL(element.src);
  element.src = URL.createObjectURL(blob);
}

export function showPrediction({ emotion, probabilities, seconds, segments, warnings = [] }) {
  length = seconds;
  $("warnings").textContent = warnings.length ? `Warning: ${warnings.join("; ")}.` : "";
  $("warnings").hidden = !warnings.length;
  showAnswer(emotion, probabilities, segments ? `, mean over ${seconds.toFixed(1)} s` : "");
  if (segments) showSegments(segments);
  showAxis();
}

/** One result of a live session. */
export function showResult({ emotion, probabilities, start, end, latency, skipped }) {
  if (probabilities) showAnswer(emotion, probabilities);
  else $("answer").textContent = "Silence";
  const span = `${start.toFixed(0)} to ${end.toFixed(0)} s`;
  const late = skipped ? `, ${skipped} windows skipped` : "";
  $("latency").textContent = `Window ${span}, answered after ${Math.round(1000 * latency)} ms${late}`;
  const block = make("li", "");
  block.style.background = emotion ? hue(emotion) : "transparent";
  block.title = `${span}: ${emotion ?? (probabilities ? "not confident" : "silence")}`;
  $("history").append(block);
  while ($("history").childElementCount > HISTORY) $("history").firstChild.remove();
}

function showAnswer(emotion, probabilities, note = "") {
  const highest = Math.max(...Object.values(probabilities));
  const detail = make("small", ` ${percent(highest)}${note}`);
  $("answer").replaceChildren(emotion ?? "not confident", detail);
  showBars(probabilities, emotion);
}

function showBars(probabilities, most) {
  const rows = settings.labels.map((label) => {
    const value = probabilities[label] ?? 0;
    const row = make("li", "", label === most ? "most" : "");
    const rail = make("span", "", "rail");
    const bar = make("i", "");
    bar.style.width = `${100 * value}%`;
    bar.style.background = hue(label);
    rail.append(bar);
    row.append(make("span", label), rail, make("output", percent(value)));
    return row;
  });
  $("bars").replaceChildren(...rows);
}

function showSegments(segments) {
  $("segments").hidden = false;
  const pixels = $("segments").clientWidth / length; // per second
  for (const { start, end, emotion, probability } of segments) {
    const fits = (end - start) * pixels > 9 * emotion.length;
    const segment = make("span", fits ? emotion : "");
    segment.style.left = `${(100 * start) / length}%`;
    segment.style.width = `${(100 * (end - start)) / length}%`;
    segment.style.background = `color-mix(in srgb, ${hue(emotion)} 60%, white)`;
    segment.title = `${emotion}, ${start.toFixed(1)} to ${end.toFixed(1)} s, ${percent(probability)}`;
    $("segments").append(segment);
    const row = make("tr", "");
    const heading = make("th", emotion);
    heading.scope = "row";
    const cells = [start.toFixed(1), end.toFixed(1), percent(probability)];
    row.append(heading, ...cells.map((cell) => make("td", cell)));
    $("rows").append(row);
  }
  $("listing").hidden = false;
  $("legend").textContent =
    `Windows of ${settings.window} s every ${settings.hop} s; gaps are silence. ` +
    "Click to play from there.";
}

function showAxis() {
  const most = Math.min(10, $("axis").clientWidth / 70);
  const step = [0.5, 1, 2, 5, 10, 20, 30, 60, 120].find((each) => length / each <= most) ?? 300;
  const ticks = [];
  for (let second = 0; second < length - 0.7 * step; second += step) ticks.push(second);
  ticks.push(length);
  $("axis").replaceChildren(
    ...ticks.map((second, i) => {
      const last = i === ticks.length - 1;
      const tick = make("span", last ? `${second.toFixed(1)} s` : `${second}`);
      tick.style.left = `${(100 * second) / length}%`;
      return tick;
    }),
  );
}

export function drawWave(audio) {
  const canvas = $("wave");
  canvas.hidden = false;
  const ratio = window.devicePixelRatio || 1;
  const width = (canvas.width = Math.round(canvas.clientWidth * ratio));
  const height = (canvas.height = Math.round(canvas.clientHeight * ratio));
  const samples = mix(audio);
  const most = samples.reduce((found, sample) => Math.max(found, Math.abs(sample)), 1e-4);
  const brush = canvas.getContext("2d");
  brush.fillStyle = getComputedStyle(canvas).getPropertyValue("--link");
  for (let x = 0; x < width; x++) {
    const from = Math.floor((x * samples.length) / width);
    const to = Math.max(from + 1, Math.floor(((x + 1) * samples.length) / width));
    let low = 0;
    let high = 0;
    for (let i = from; i < to; i++) {
      low = Math.min(low, samples[i]);
      high = Math.max(high, samples[i]);
    }
    const top = (0.5 - (0.46 * high) / most) * height;
    const bottom = (0.5 - (0.46 * low) / most) * height;
    brush.fillRect(x, top, 1, Math.max(ratio, bottom - top));
  }
  length = audio.duration;
}
