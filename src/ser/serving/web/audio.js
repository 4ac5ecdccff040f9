// Decoding in the browser, and samples in the formats that the service reads.

import { settings } from "./page.js";

/** The samples of a recording at 16 kHz, or null if this browser cannot decode it. */
export async function decode(blob) {
  const context = new OfflineAudioContext(1, 1, 16000);
  try {
    return await context.decodeAudioData(await blob.arrayBuffer());
  } catch {
    return null;
  }
}

/** Whether the server should be able to read a file, by its suffix or its type. */
export function isReadable(blob, name) {
  const suffix = name.includes(".") ? name.slice(name.lastIndexOf(".")).toLowerCase() : "";
  return settings.suffixes.includes(suffix) || blob.type === "audio/wav";
}

/** The mean of all channels. */
export function mix(audio) {
  const mono = new Float32Array(audio.length);
  for (let channel = 0; channel < audio.numberOfChannels; channel++) {
    const samples = audio.getChannelData(channel);
    for (let i = 0; i < mono.length; i++) mono[i] += samples[i] / audio.numberOfChannels;
  }
  return mono;
}

/** Write samples as 16-bit little-endian numbers. */
export function writePcm(samples, view, offset = 0) {
  samples.forEach((sample, i) =>
    view.setInt16(offset + 2 * i, 32767 * Math.max(-1, Math.min(1, sample)), true),
  );
}

/** A WAV file: 16 bits per sample, one channel. */
export function encodeWav(audio) {
  const samples = mix(audio);
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (place, letters) =>
    [...letters].forEach((letter, i) => view.setUint8(place + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, audio.sampleRate, true);
  view.setUint32(28, 2 * audio.sampleRate, true); // bytes per second
  view.setUint16(32, 2, true); // bytes per frame
  view.setUint16(34, 16, true); // bits per sample
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  writePcm(samples, view, 44);
  return new Blob([view.buffer], { type: "audio/wav" });
}
