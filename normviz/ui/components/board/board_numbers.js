// Decoding and formatting of numbers in figures.

const TYPES = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f4: Float32Array };

/** Decode {dtype, bdata} to an array; with `start` and `step`, the stored numbers are levels. */
export function decode(spec) {
  const bytes = Uint8Array.from(atob(spec.bdata), (letter) => letter.charCodeAt(0));
  const array = new TYPES[spec.dtype](bytes.buffer);
  return spec.step === undefined ? array : Float64Array.from(array, (level) => spec.start + spec.step * level);
}

const SUPERSCRIPT = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

/** Format with three significant digits and a minus sign, as a power of ten where that is shorter. */
export function format(value) {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e-3 && size < 1e5) {
    return (size >= 999.5 ? String(Math.round(value)) : value.toPrecision(3)).replace("-", "−");
  }
  const [mantissa, exponent] = value.toExponential(2).split("e");
  const power = `10${[...String(Number(exponent))].map((digit) => SUPERSCRIPT[digit]).join("")}`;
  return (Number(mantissa) === 1 ? power : `${Number(mantissa)}·${power}`).replace("-", "−");
}

/** The group of cell (i, j) of a face, or null. */
export function groupAt(face, i, j) {
  const groups = face.groups;
  if (groups === null || typeof groups === "number") return groups;
  groups.decoded ??= { core: decode(groups.core), rows: decode(groups.rows), columns: decode(groups.columns) };
  const { core, rows, columns } = groups.decoded;
  return core[rows[i] * groups.core.shape[1] + columns[j]];
}

/** The value at cell (i, j) of a heatmap, or null if the panel is not a heatmap. */
export function valueAt(panel, i, j) {
  const scale = panel?.link.values;
  if (!scale || panel.link.kind !== "cells") return null;
  panel.values ??= decode(panel.spec.figure.data[0].z);
  const value = scale.start + scale.step * panel.values[i * panel.link.faces[0].columns + j];
  return Math.abs(value) <= scale.step * 0.51 ? 0 : value; // 0 within the resolution of the levels
}
