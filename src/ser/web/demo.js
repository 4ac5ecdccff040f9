// The page of `ser demo`: choose a recording, send it, show what comes back.

const settings = JSON.parse(document.getElementById("settings").textContent);
const $ = (id) => document.getElementById(id);
const LONGEST_RECORDING = 30; // seconds
const percent = (value) => `${(100 * value).toFixed(value < 0.1 ? 1 : 0)} %`;

let shown = 0; // number of the recording on the page: late answers to earlier ones are dropped
let length = 0; // of the recording, in seconds

// ---- choosing -----------------------------------------------------------------------------------

$("file").addEventListener("change", () => {
  if ($("file").files[0]) take($("file").files[0], $("file").files[0].name);
  $("file").value = ""; // so that the same file can be chosen again
});

for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault(); // a file beside the field would replace the page
    $("drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
    const file = kind === "drop" ? event.dataTransfer.files[0] : undefined;
    if (file) take(file, file.name);
  });
}

for (const button of document.querySelectorAll(".example")) {
  button.addEventListener("click", async () => {
    const { emotion } = button.dataset;
    try {
      const answer = await fetch(`/examples/${encodeURIComponent(emotion)}.wav`);
      if (!answer.ok) throw new Error(await reason(answer));
      await take(await answer.blob(), `Synthetic example, made to be ${emotion}`);
    } catch (error) {
      complain(words(error));
    }
  });
}

// ---- the microphone -----------------------------------------------------------------------------

let stop = null; // ends the recording that is being made

if (!navigator.mediaDevices?.getUserMedia) {
  $("record").disabled = true;
  $("record-note").textContent =
    "Browsers lend the microphone to pages on this machine or over HTTPS only.";
}

$("record").addEventListener("click", async () => {
  if (stop) {
    stop();
    return;
  }
  let stream;
  $("record").disabled = true; // a second click would open a second microphone
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    record(stream);
  } catch (error) {
    for (const track of stream?.getTracks() ?? []) track.stop();
    complain(`The microphone cannot be used: ${error.message}`);
  } finally {
    $("record").disabled = false;
  }
});

function record(stream) {
  const recorder = new MediaRecorder(stream);
  const parts = [];
  const started = performance.now();
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const timer = setInterval(() => {
    const seconds = (performance.now() - started) / 1000;
    analyser.getFloatTimeDomainData(samples);
    $("level").value = Math.min(1, 1.5 * Math.max(...samples.map(Math.abs)));
    $("record-words").textContent = `Stop (${seconds.toFixed(0)} s)`;
    if (seconds >= LONGEST_RECORDING) stop?.();
  }, 100);
  stop = () => {
    stop = null;
    clearInterval(timer);
    recorder.stop();
    for (const track of stream.getTracks()) track.stop();
    context.close();
    $("record").parentElement.classList.remove("recording");
    $("record-words").textContent = "Record";
    $("level").hidden = true;
  };
  recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
  recorder.addEventListener("stop", () =>
    take(new Blob(parts, { type: recorder.mimeType }), "Your recording"),
  );
  recorder.start();
  $("record").parentElement.classList.add("recording");
  $("level").hidden = false;
}

// ---- judging ------------------------------------------------------------------------------------

async function take(blob, name) {
  complain("");
  if (blob.size > settings.maxBytes) {
    complain(`${name} is larger than ${settings.maxBytes / 1e6} MB; choose a shorter recording.`);
    return;
  }
  const turn = ++shown;
  begin(blob, name);
  try {
    const audio = await decode(blob);
    if (turn !== shown) return;
    if (audio) drawWave(audio);
    const file = audio && !readable(blob, name) ? encode(audio) : blob;
    const long = !audio || audio.duration > 2 * settings.window;
    const query = long ? `?window=${settings.window}&hop=${settings.hop}` : "";
    const prediction = await (await send(`/predict${query}`, file)).json();
    if (turn !== shown) return;
    showPrediction(prediction);
    const picture = await (await send("/log-mel", file)).blob();
    if (turn !== shown) return;
    replaceSource($("mel"), picture);
    $("mel").hidden = false;
  } catch (error) {
    if (turn !== shown) return;
    $("result").hidden = true;
    complain(words(error));
  } finally {
    if (turn === shown) $("result").classList.remove("busy");
  }
}

/** Whether the server can read it as it is: by its type where it has no file name. */
function readable(blob, name) {
  const suffix = name.includes(".") ? name.slice(name.lastIndexOf(".")).toLowerCase() : "";
  return settings.suffixes.includes(suffix) || blob.type === "audio/wav";
}

/** The samples of a recording, or null where this browser cannot read it. */
async function decode(blob) {
  const context = new OfflineAudioContext(1, 1, 16000);
  try {
    return await context.decodeAudioData(await blob.arrayBuffer());
  } catch {
    return null;
  }
}

/** A WAV file with 16 bits a sample, one channel. */
function encode(audio) {
  const samples = mix(audio);
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (place, letters) =>
    [...letters].forEach((letter, i) => view.setUint8(place + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // whole numbers
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, audio.sampleRate, true);
  view.setUint32(28, 2 * audio.sampleRate, true);
  view.setUint16(32, 2, true); // bytes a frame
  view.setUint16(34, 16, true); // bits a sample
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((sample, i) =>
    view.setInt16(44 + 2 * i, 32767 * Math.max(-1, Math.min(1, sample)), true),
  );
  return new Blob([view.buffer], { type: "audio/wav" });
}

function mix(audio) {
  const mono = new Float32Array(audio.length);
  for (let channel = 0; channel < audio.numberOfChannels; channel++) {
    const samples = audio.getChannelData(channel);
    for (let i = 0; i < mono.length; i++) mono[i] += samples[i] / audio.numberOfChannels;
  }
  return mono;
}

async function send(path, file) {
  const form = new FormData();
  form.append("file", file, "recording"); // its name is nobody's business
  const answer = await fetch(path, { method: "POST", body: form });
  if (!answer.ok) throw new Error(await reason(answer));
  return answer;
}

async function reason(answer) {
  try {
    return (await answer.json()).error;
  } catch {
    return `the server answered ${answer.status}`;
  }
}

const words = (error) =>
  error instanceof TypeError ? "The server does not answer; is it still running?" : error.message;

function complain(sentence) {
  const text = sentence && sentence[0].toUpperCase() + sentence.slice(1);
  $("problem").textContent = text && !/[.!?]$/.test(text) ? `${text}.` : text;
  $("problem").hidden = !sentence;
}

// ---- showing ------------------------------------------------------------------------------------

function begin(blob, name) {
  $("result").hidden = false;
  $("result").classList.add("busy");
  $("name").textContent = name;
  $("answer").textContent = "Listening…";
  for (const id of ["mel", "segments", "listing", "wave"]) $(id).hidden = true;
  for (const id of ["axis", "legend", "rows", "segments"]) $(id).replaceChildren();
  if (!$("bars").childElementCount) showBars({});
  replaceSource($("player"), blob);
}

function replaceSource(element, blob) {
  if (element.src) URL.revokeObjectURL(element.src);
  element.src = URL.createObjectURL(blob);
}

function showPrediction(prediction) {
  const { emotion, probabilities, seconds, segments } = prediction;
  length = seconds;
  const detail = document.createElement("small");
  const over = segments ? ` on average over ${seconds.toFixed(1)} s` : "";
  detail.textContent = ` ${percent(probabilities[emotion])}${over}`;
  $("answer").replaceChildren(emotion, detail);
  showBars(probabilities, emotion);
  if (segments) showSegments(segments);
  showAxis();
}

const hue = (label) => `var(--hue-${settings.labels.indexOf(label) % 8})`;

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
  const pixels = $("segments").clientWidth / length; // a second
  for (const { start, end, emotion, probability } of segments) {
    const fits = (end - start) * pixels > 9 * emotion.length;
    const stretch = make("span", fits ? emotion : "");
    stretch.style.left = `${(100 * start) / length}%`;
    stretch.style.width = `${(100 * (end - start)) / length}%`;
    stretch.style.background = `color-mix(in srgb, ${hue(emotion)} 60%, white)`;
    stretch.title = `${emotion}, ${start.toFixed(1)} to ${end.toFixed(1)} s, ${percent(probability)}`;
    $("segments").append(stretch);
    const row = make("tr", "");
    const heading = make("th", emotion);
    heading.scope = "row";
    row.append(
      heading,
      make("td", start.toFixed(1)),
      make("td", end.toFixed(1)),
      make("td", percent(probability)),
    );
    $("rows").append(row);
  }
  $("listing").hidden = false;
  $("legend").textContent =
    `Judged in windows of ${settings.window} s every ${settings.hop} s; gaps are silence. ` +
    "Click to listen from there.";
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

function drawWave(audio) {
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

function make(tag, text, kind = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = kind;
  return element;
}

// ---- listening ----------------------------------------------------------------------------------

$("stage").addEventListener("click", (event) => {
  const box = $("stage").getBoundingClientRect();
  $("player").currentTime = (length * (event.clientX - box.left)) / box.width;
  $("player").play();
});

function follow() {
  const share = length ? $("player").currentTime / length : 0;
  $("head").style.left = `${100 * Math.min(1, share)}%`;
  if (!$("player").paused) requestAnimationFrame(follow);
}
for (const kind of ["play", "seeked", "timeupdate", "loadstart"]) {
  $("player").addEventListener(kind, follow);
}
