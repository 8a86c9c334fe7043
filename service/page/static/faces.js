// Finds faces in a picture: the service's own face finder, without any library.
//
// The network of syncnet_python/networks/face_finder.py, decoded and merged as in
// syncnet_python/detectors/bundled.py. The weights are face_finder.bin, which
// `python -m training.export_page` writes. Import FaceFinder, or start this module as a module
// worker: it takes `{weights}` once, then `{pixels, width, height}`, and answers each in turn.

/**
 * Pixels of the network's input, whatever the shape of the picture. The service's detector takes
 * 192*192, of which this is little more than half: the work grows with the area, and JavaScript
 * does it without vector instructions. Of 47 real faces that fill a fifth to three fifths of a
 * camera's height, all are found at either size.
 */
export const AREA = 160 * 128;

const MULTIPLE = 32; // the coarsest features have one cell per so many pixels
const STRIDE = 8; // pixels between output cells
const UNIT = 32; // face size in pixels whose logarithm is output as 0
const MIN_CONFIDENCE = 0.6;
const MAX_OVERLAP = 0.3; // intersection over union above which two boxes are one face
const BLOCK = 4; // output channels that are computed together

/**
 * @typedef {object} Face Pixels of the picture that was given; may reach beyond it.
 * @property {number} x1
 * @property {number} y1
 * @property {number} x2
 * @property {number} y2
 * @property {number} confidence 0-1
 *
 * @typedef {object} Features Channels last, with a border of zeros one cell wide.
 * @property {number} rows
 * @property {number} columns
 * @property {number} channels
 * @property {Float32Array} data (rows + 2) * (columns + 2) * channels
 *
 * @typedef {object} Layer A convolution with a square kernel of 1 or 3.
 * @property {number} kernel
 * @property {number} inputs
 * @property {number} outputs a multiple of BLOCK; those beyond the network's own are 0
 * @property {Float32Array} weights [block of outputs][kernel row][kernel column, input][output]
 * @property {Float32Array} bias
 */

/** Rows and columns of the network's input for a picture: about AREA pixels, nearly its shape.
 * @param {number} height @param {number} width */
export function inputShape(height, width) {
  const scale = Math.sqrt(AREA / (height * width));
  const [rows, columns] = [height, width].map(
    (side) => MULTIPLE * Math.max(1, Math.round((side * scale) / MULTIPLE)),
  );
  return { rows, columns };
}

export class FaceFinder {
  /** @type {Map<string, Layer>} */
  #layers;
  /** @type {Map<string, Features>} outputs of the layers, kept from picture to picture */
  #features = new Map();

  /** @param {ArrayBuffer} weights the bytes of `face_finder.bin`; throws an Error for others */
  constructor(weights) {
    this.#layers = readLayers(weights);
  }

  /**
   * @param {Uint8ClampedArray | Uint8Array} pixels RGBA, as in `ImageData.data`
   * @param {number} width
   * @param {number} height
   * @returns {Face[]} surest first
   */
  find(pixels, width, height) {
    const { rows, columns } = inputShape(height, width);
    let image = this.#features.get("image");
    if (image?.rows !== rows || image.columns !== columns) {
      this.#features.clear();
      image = emptyFeatures(rows, columns, 3);
      this.#features.set("image", image);
    }
    scaleInto(image, pixels, width, height);
    const across = (/** @type {number} */ x) => ((x + 0.5) * width) / columns - 0.5;
    const down = (/** @type {number} */ y) => ((y + 0.5) * height) / rows - 0.5;
    return merge(decode(this.#network(image))).map(({ x1, y1, x2, y2, confidence }) => {
      return { x1: across(x1), y1: down(y1), x2: across(x2), y2: down(y2), confidence };
    });
  }

  /** @param {Features} image */
  #network(image) {
    const at4 = this.#layer("to_8.1.0", this.#layer("to_8.0.0", image, 2), 2);
    const at8 = this.#residual("to_8.3", this.#layer("to_8.2.0", at4, 2));
    const at16 = this.#residual("to_16.1", this.#layer("to_16.0.0", at8, 2));
    const at32 = this.#residual("to_32.1", this.#layer("to_32.0.0", at16, 2));
    const wide = this.#layer("from_16.0", at16);
    addDoubled(wide, this.#layer("from_32.0", at32));
    addDoubled(at8, this.#layer("down_16.0", this.#layer("join_16.0", wide)));
    return this.#layer("head", this.#layer("join_8.0", at8), 1, { lowest: -Infinity });
  }

  /** @param {string} name @param {Features} input */
  #residual(name, input) {
    const inner = this.#layer(`${name}.body.0.0`, input);
    return this.#layer(`${name}.body.1.0`, inner, 1, { skip: input });
  }

  /**
   * One convolution and what follows it: `skip` is added, then all below `lowest` is raised.
   * @param {string} name @param {Features} input @param {1 | 2} [stride]
   * @param {{skip?: Features | null, lowest?: number}} [after]
   */
  #layer(name, input, stride = 1, { skip = null, lowest = 0 } = {}) {
    const layer = this.#layers.get(name);
    if (layer === undefined || layer.inputs !== input.channels) {
      throw new Error(`the weights do not fit: ${name}`);
    }
    let output = this.#features.get(name);
    if (output === undefined) {
      output = emptyFeatures(input.rows / stride, input.columns / stride, layer.outputs);
      this.#features.set(name, output);
    }
    convolve(layer, input, output, stride, skip === null ? null : skip.data, lowest);
    return output;
  }
}

/** @param {number} rows @param {number} columns @param {number} channels @returns {Features} */
function emptyFeatures(rows, columns, channels) {
  const data = new Float32Array((rows + 2) * (columns + 2) * channels);
  return { rows, columns, channels, data };
}

/**
 * Four output channels of two neighbouring cells at a time: their eight sums and the six numbers
 * that go into them fit a processor's registers, so that each number read is used several times.
 * A kernel's row lies over cells whose channels follow each other in memory: one run of numbers.
 *
 * @param {Layer} layer
 * @param {Features} input
 * @param {Features} output
 * @param {1 | 2} stride
 * @param {Float32Array | null} skip data of features shaped like the output
 * @param {number} lowest 0 to rectify, -Infinity not to
 */
function convolve(layer, input, output, stride, skip, lowest) {
  const { kernel, inputs, outputs, weights, bias } = layer;
  const from = input.data;
  const to = output.data;
  const run = kernel * inputs;
  const pitch = (input.columns + 2) * inputs;
  const inset = kernel === 1 ? 1 : 0; // a kernel of 3 starts on the border of zeros
  const step = stride * inputs;
  const { rows, columns } = output;
  for (let row = 0; row < rows; row += 1) {
    const top = (row * stride + inset) * pitch + inset * inputs;
    const line = ((row + 1) * (columns + 2) + 1) * outputs;
    for (let block = 0; block < outputs; block += BLOCK) {
      for (let column = 0; column < columns; column += 2) {
        const next = column + 1 < columns ? column + 1 : column; // the last of an odd row: twice
        const p = line + column * outputs + block;
        const q = line + next * outputs + block;
        let p0 = bias[block];
        let p1 = bias[block + 1];
        let p2 = bias[block + 2];
        let p3 = bias[block + 3];
        let q0 = p0;
        let q1 = p1;
        let q2 = p2;
        let q3 = p3;
        if (skip !== null) {
          p0 += skip[p];
          p1 += skip[p + 1];
          p2 += skip[p + 2];
          p3 += skip[p + 3];
          q0 += skip[q];
          q1 += skip[q + 1];
          q2 += skip[q + 2];
          q3 += skip[q + 3];
        }
        let w = block * kernel * run;
        for (let y = 0; y < kernel; y += 1) {
          let a = top + y * pitch + column * step;
          let b = top + y * pitch + next * step;
          const end = a + run;
          while (a < end) {
            const x = from[a];
            const z = from[b];
            const w0 = weights[w];
            const w1 = weights[w + 1];
            const w2 = weights[w + 2];
            const w3 = weights[w + 3];
            p0 += x * w0;
            p1 += x * w1;
            p2 += x * w2;
            p3 += x * w3;
            q0 += z * w0;
            q1 += z * w1;
            q2 += z * w2;
            q3 += z * w3;
            a += 1;
            b += 1;
            w += 4;
          }
        }
        to[p] = p0 > lowest ? p0 : lowest;
        to[p + 1] = p1 > lowest ? p1 : lowest;
        to[p + 2] = p2 > lowest ? p2 : lowest;
        to[p + 3] = p3 > lowest ? p3 : lowest;
        to[q] = q0 > lowest ? q0 : lowest;
        to[q + 1] = q1 > lowest ? q1 : lowest;
        to[q + 2] = q2 > lowest ? q2 : lowest;
        to[q + 3] = q3 > lowest ? q3 : lowest;
      }
    }
  }
}

/** Add features of half the size to `into`: every cell of `coarse` to a square of four.
 * @param {Features} into @param {Features} coarse */
function addDoubled(into, coarse) {
  const { rows, columns, channels, data } = into;
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      const cell = ((row >> 1) + 1) * (coarse.columns + 2) + (column >> 1) + 1;
      const p = ((row + 1) * (columns + 2) + column + 1) * channels;
      const q = cell * channels;
      for (let i = 0; i < channels; i += 1) data[p + i] += coarse.data[q + i];
    }
  }
}

/**
 * The picture as the network wants it, BGR from -1 to 1, every input pixel the mean of the area it
 * covers: what OpenCV calls INTER_AREA.
 *
 * @param {Features} image
 * @param {Uint8ClampedArray | Uint8Array} pixels RGBA
 * @param {number} width
 * @param {number} height
 */
function scaleInto(image, pixels, width, height) {
  const { rows, columns, data } = image;
  const across = shares(width, columns);
  const down = shares(height, rows);
  const narrow = new Float32Array(columns * 3); // a row of the picture
  for (let row = 0; row < rows; row += 1) {
    const line = ((row + 1) * (columns + 2) + 1) * 3;
    data.fill(-1, line, line + columns * 3);
    down[row].shares.forEach((part, i) => {
      narrowRow(narrow, pixels, (down[row].first + i) * width, across);
      for (let k = 0; k < narrow.length; k += 1) data[line + k] += (part * narrow[k]) / 127.5;
    });
  }
}

/** One row of RGBA pixels, from pixel number `start` on, to BGR means of `across`.
 * @param {Float32Array} narrow @param {Uint8ClampedArray | Uint8Array} pixels
 * @param {number} start @param {ReturnType<typeof shares>} across */
function narrowRow(narrow, pixels, start, across) {
  let k = 0;
  for (const span of across) {
    let [blue, green, red] = [0, 0, 0];
    let p = 4 * (start + span.first);
    for (const part of span.shares) {
      red += part * pixels[p];
      green += part * pixels[p + 1];
      blue += part * pixels[p + 2];
      p += 4;
    }
    narrow[k] = blue;
    narrow[k + 1] = green;
    narrow[k + 2] = red;
    k += 3;
  }
}

/** What `size` pixels count for in each of `count` equal parts of their row; 1 in each part.
 * @param {number} size @param {number} count */
function shares(size, count) {
  const length = size / count;
  return Array.from({ length: count }, (_, part) => {
    const [start, end] = [part * length, (part + 1) * length];
    const first = Math.floor(start);
    const last = Math.min(Math.max(Math.ceil(end - 1e-9), first + 1), size);
    const parts = [];
    for (let pixel = first; pixel < last; pixel += 1) {
      parts.push((Math.min(end, pixel + 1) - Math.max(start, pixel)) / length);
    }
    return { first, shares: parts };
  });
}

/**
 * The head's channels: logit that a face's centre is near; from the cell's centre to the face's in
 * face widths and heights; logarithms of its width and height in UNITs.
 *
 * @param {Features} output
 * @returns {Face[]} in pixels of the network's input
 */
function decode({ rows, columns, channels, data }) {
  const faces = [];
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      const p = ((row + 1) * (columns + 2) + column + 1) * channels;
      const confidence = 1 / (1 + Math.exp(-data[p]));
      if (confidence < MIN_CONFIDENCE) continue;
      const width = UNIT * Math.exp(data[p + 3]);
      const height = UNIT * Math.exp(data[p + 4]);
      const x = column * STRIDE + (STRIDE - 1) / 2 + data[p + 1] * width;
      const y = row * STRIDE + (STRIDE - 1) / 2 + data[p + 2] * height;
      const [x1, x2] = [x - width / 2, x + width / 2];
      const [y1, y2] = [y - height / 2, y + height / 2];
      faces.push({ x1, y1, x2, y2, confidence });
    }
  }
  return faces;
}

/**
 * Boxes of one face become their mean, weighted by confidence; its confidence is the surest.
 *
 * @param {Face[]} faces
 * @returns {Face[]} surest first
 */
function merge(faces) {
  let rest = [...faces].sort((a, b) => b.confidence - a.confidence);
  const merged = [];
  while (rest.length > 0) {
    const [surest] = rest;
    const near = rest.filter((face) => face === surest || overlap(surest, face) > MAX_OVERLAP);
    rest = rest.filter((face) => !near.includes(face));
    const total = near.reduce((sum, face) => sum + face.confidence, 0);
    const mean = (/** @type {"x1" | "y1" | "x2" | "y2"} */ side) =>
      near.reduce((sum, face) => sum + face.confidence * face[side], 0) / total;
    const box = { x1: mean("x1"), y1: mean("y1"), x2: mean("x2"), y2: mean("y2") };
    merged.push({ ...box, confidence: surest.confidence });
  }
  return merged;
}

/** Intersection over union. @param {Face} a @param {Face} b */
function overlap(a, b) {
  const width = Math.min(a.x2, b.x2) - Math.max(a.x1, b.x1);
  const height = Math.min(a.y2, b.y2) - Math.max(a.y1, b.y1);
  const common = Math.max(width, 0) * Math.max(height, 0);
  const area = (/** @type {Face} */ box) => (box.x2 - box.x1) * (box.y2 - box.y1);
  return common / Math.max(area(a) + area(b) - common, 1e-9);
}

/**
 * The layers in a weights file: the length of a JSON header (four bytes, little-endian), the
 * header, then float16 numbers. Offsets in the header are bytes from the end of the header.
 *
 * @param {ArrayBuffer} file
 * @returns {Map<string, Layer>}
 */
function readLayers(file) {
  const view = new DataView(file);
  const start = 4 + view.getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(file, 4, start - 4)));
  if (header.format !== "face_finder/1") throw new Error("these are no weights of a face finder");
  const tensors = new Map(header.layers.map((/** @type {any} */ one) => [one.name, one]));
  const layers = new Map();
  for (const { name, shape, offset } of header.layers) {
    if (!name.endsWith(".weight")) continue;
    const layer = name.slice(0, -".weight".length);
    const [own, kernel, , inputs] = shape;
    const outputs = Math.ceil(own / BLOCK) * BLOCK;
    const run = kernel * inputs;
    const natural = readHalves(view, start + offset, own * kernel * run);
    const weights = new Float32Array(outputs * kernel * run);
    for (let from = 0; from < natural.length; from += 1) {
      const output = Math.floor(from / (kernel * run));
      const within = from % (kernel * run); // kernel row, kernel column, input
      const block = Math.floor(output / BLOCK);
      weights[(block * kernel * run + within) * BLOCK + (output % BLOCK)] = natural[from];
    }
    const bias = new Float32Array(outputs);
    bias.set(readHalves(view, start + tensors.get(`${layer}.bias`).offset, own));
    layers.set(layer, { kernel, inputs, outputs, weights, bias });
  }
  return layers;
}

/** `count` float16 numbers, little-endian; infinities and what is no number do not occur.
 * @param {DataView} view @param {number} offset @param {number} count */
function readHalves(view, offset, count) {
  const numbers = new Float32Array(count);
  for (let i = 0; i < count; i += 1) {
    const bits = view.getUint16(offset + 2 * i, true);
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    const size = exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25);
    numbers[i] = bits & 0x8000 ? -size : size;
  }
  return numbers;
}

/** @param {any} scope of a worker */
function serve(scope) {
  /** @type {FaceFinder} */
  let finder;
  scope.onmessage = (/** @type {MessageEvent} */ { data }) => {
    if (data.weights !== undefined) {
      finder = new FaceFinder(data.weights);
      scope.postMessage([]);
    } else {
      scope.postMessage(finder.find(data.pixels, data.width, data.height));
    }
  };
}

if ("WorkerGlobalScope" in globalThis) serve(globalThis);
