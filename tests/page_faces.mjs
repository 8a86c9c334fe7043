// Runs the page's modules in node for test_page_faces.py: what to do is JSON in a file, what came
// of it is JSON on standard output.
//
//   node page_faces.mjs TASK.json

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const task = JSON.parse(readFileSync(process.argv[2], "utf8"));
const module = await import(pathToFileURL(task.module));
const answer = await { find, refuse, judge, run }[task.what]();
console.log(JSON.stringify(answer));

function bytes(path) {
  const file = readFileSync(path);
  return file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength);
}

/** Faces of pictures, and how long each took. */
function find() {
  const finder = new module.FaceFinder(bytes(task.weights));
  const pictures = task.pictures.map(({ file, width, height }) => {
    const pixels = new Uint8ClampedArray(bytes(file));
    const began = performance.now();
    const faces = finder.find(pixels, width, height);
    return { faces, ms: performance.now() - began, shape: module.inputShape(height, width) };
  });
  return { area: module.AREA, pictures };
}

/** What is said of a file that holds no weights. */
function refuse() {
  try {
    return new module.FaceFinder(bytes(task.weights)) && "taken";
  } catch (error) {
    return error.message;
  }
}

/** Readings of a series of what is seen and heard; a picture is grey, its face of another grey. */
function judge() {
  const judge = new module.Judge();
  return task.seen.map(({ grey, around = grey, width, height, faces, ...rest }) => {
    const data = new Uint8ClampedArray(width * height * 4).fill(around);
    for (const { x1, y1, x2, y2 } of faces ?? []) {
      for (let y = Math.max(y1, 0); y < Math.min(y2, height); y += 1) {
        data.fill(grey, 4 * (y * width + Math.max(x1, 0)), 4 * (y * width + Math.min(x2, width)));
      }
    }
    return judge.read({ picture: { data, width, height }, faces, ...rest });
  });
}

/** Readings of the whole check in an old browser, which has no workers of modules. */
async function run() {
  const drawn = [];
  const context = {
    drawImage: (...call) => drawn.push(call.slice(1)),
    getImageData: (_x, _y, width, height) => {
      const data = new Uint8ClampedArray(width * height * 4).fill(120);
      return { data, width, height };
    },
  };
  const canvas = { width: 0, height: 0, getContext: () => context };
  globalThis.document = { createElement: () => canvas };
  const readings = [];
  await new Promise((resolve) => {
    const check = new module.CameraCheck({
      video: { readyState: 4, videoWidth: task.width, videoHeight: task.height },
      recorder: { level: () => 0.5 },
      onReading: (reading) => {
        readings.push(reading);
        if (readings.length < task.readings) return;
        check.stop();
        resolve();
      },
    });
    check.start();
    check.start(); // a second time changes nothing
  });
  return { readings, drawn };
}
