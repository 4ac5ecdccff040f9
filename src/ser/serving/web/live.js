// A live session: samples of the microphone go to the service, predictions come back.

import { askToken, liveUrl, token } from "./api.js";
import { writePcm } from "./audio.js";
import { begin, showResult } from "./chart.js";
import { release } from "./microphone.js";
import { complain, settings, $ } from "./page.js";

const MESSAGE_SECONDS = 0.1; // of audio in one message
const MOST_BUFFERED = 1e6; // bytes that wait for the network
const UNAUTHORIZED = 4401; // close code: the token is missing or wrong

/** Start a session with a stream of the microphone; the result ends it. */
export async function startLive(stream) {
  complain("");
  const context = new AudioContext();
  try {
    await context.audioWorklet.addModule(new URL("worklet.js", import.meta.url));
  } catch (error) {
    context.close();
    throw error;
  }
  const socket = new WebSocket(liveUrl());
  socket.binaryType = "arraybuffer";
  const tap = new AudioWorkletNode(context, "tap");
  begin("Live from the microphone", { live: true });

  socket.addEventListener("open", () => {
    const { window, hop } = settings;
    socket.send(JSON.stringify({ token: token(), sample_rate: context.sampleRate, window, hop }));
  });
  socket.addEventListener("message", ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "ready") collect(tap, context.sampleRate, socket);
    if (message.type === "result" && !$("timeline").hidden) showResult(message);
    if (message.type === "end") socket.close();
    if (message.error) complain(message.error);
  });
  let over = false; // something else may use the microphone when the socket closes
  socket.addEventListener("close", ({ code }) => {
    if (over) return;
    if (code === UNAUTHORIZED && settings.protected) askToken();
    if (code === 1006) complain("The connection was lost");
    release();
  });
  context.createMediaStreamSource(stream).connect(tap);
  return () => {
    over = true;
    tap.port.onmessage = null;
    context.close();
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type: "end" }));
    else socket.close();
    if ($("answer").textContent === "Listening…") $("answer").textContent = "No result";
  };
}

/** Send the samples of a tap as they arrive. */
function collect(tap, rate, socket) {
  let parts = [];
  let count = 0;
  tap.port.onmessage = ({ data }) => {
    parts.push(data);
    count += data.length;
    if (count < MESSAGE_SECONDS * rate) return;
    const view = new DataView(new ArrayBuffer(2 * count));
    let offset = 0;
    for (const part of parts) {
      writePcm(part, view, offset);
      offset += 2 * part.length;
    }
    parts = [];
    count = 0;
    if (socket.bufferedAmount > MOST_BUFFERED) {
      complain("The connection is too slow for live audio");
      release();
    } else if (socket.readyState === WebSocket.OPEN) {
      socket.send(view.buffer);
    }
  };
}
