// Adapts a figure to the page: theme, size and interaction; converts between pixels and the figure's plane.

export function readTheme(element) {
  const style = getComputedStyle(element);
  const get = (name, otherwise) => style.getPropertyValue(`--st-${name}`).trim() || otherwise;
  return {
    text: get("text-color", "#1D2733"),
    paper: get("background-color", "#FBFAF7"),
    line: get("border-color", "#D8D3C7"),
    font: get("font", "sans-serif"),
  };
}

/** Whether the pointer is a finger, which scrolls the page rather than zooming a chart. */
export const isTouch = () => window.matchMedia("(pointer: coarse)").matches;

const isScene = (layout, data) =>
  Boolean(layout.scene) || data.some(({ type }) => /3d$|^(surface|isosurface|volume|cone|streamtube)$/.test(type));

export function themed(layout, data, theme) {
  const axis = {
    gridcolor: theme.line, linecolor: theme.line, tickcolor: theme.line, zerolinecolor: theme.line,
    tickfont: { color: theme.text, size: 16 },
  };
  const wall = { ...axis, tickfont: { color: theme.text, size: 13 }, showbackground: false, color: theme.text };
  const none = "rgba(0,0,0,0)";
  const template = {
    paper_bgcolor: none, plot_bgcolor: none,
    font: { color: theme.text, family: theme.font, size: 16 }, xaxis: axis, yaxis: axis,
    scene: { xaxis: wall, yaxis: wall, zaxis: wall, bgcolor: none },
    polar: { bgcolor: none, angularaxis: axis, radialaxis: axis },
    modebar: { bgcolor: none, color: theme.text, activecolor: theme.text },
    hoverlabel: { bgcolor: theme.paper, bordercolor: theme.text, font: { color: theme.text, size: 16 } },
  };
  const flat = isTouch() ? false : (layout.dragmode ?? "zoom");
  const dragmode = isScene(layout, data) ? (layout.dragmode ?? "turntable") : flat;
  return { uirevision: "keep", ...layout, template: { layout: template }, dragmode };
}

/** Plotly's configuration: a reset button where the chart can be zoomed or rotated; the wheel scrolls the page. */
export function config(layout, data) {
  const scene = isScene(layout, data);
  const still = !scene && (!layout.xaxis || (layout.xaxis.fixedrange && layout.yaxis?.fixedrange));
  return {
    displaylogo: false, responsive: false, showTips: false, scrollZoom: false,
    doubleClick: "reset", doubleClickDelay: 500,
    displayModeBar: still || isTouch() ? false : "hover",
    modeBarButtons: [[scene ? "resetCameraDefault3d" : "resetScale2d"]],
  };
}

/** The height that cells of a fixed shape need at this width, at most `most`, to avoid empty space on a phone. */
export function fit({ xaxis, yaxis, margin }, width, most) {
  if (!yaxis?.scaleanchor || !margin) return most;
  const span = (axis) => Math.abs(axis.range[1] - axis.range[0]);
  const plot = ((width - margin.l - margin.r) * span(yaxis) * yaxis.scaleratio) / span(xaxis);
  return Math.min(most, Math.ceil(plot + margin.t + margin.b));
}

/** A panel's plotting area in pixels, with conversions to and from the figure's plane; null without axes. */
export function frame(panel) {
  if (panel.cube) return panel.cube.frame;
  const full = panel.chart._fullLayout;
  if (!full?.xaxis?._length || !full.yaxis?._length) return null;
  const { xaxis, yaxis } = full;
  return {
    width: full.width, height: full.height,
    left: xaxis._offset, top: yaxis._offset, across: xaxis._length, down: yaxis._length,
    pixel: (x, y) => [xaxis._offset + xaxis.l2p(x), yaxis._offset + yaxis.l2p(y)],
    plane: (across, below) => [xaxis.p2l(across - xaxis._offset), yaxis.p2l(below - yaxis._offset)],
  };
}

/** A cleared drawing context in CSS pixels, of a canvas resized to the window. */
export function brushOf(canvas, { width, height }) {
  const ratio = window.devicePixelRatio || 1, [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) {
    Object.assign(canvas, { width: w, height: h });
    Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
  }
  const brush = canvas.getContext("2d");
  brush.setTransform(ratio, 0, 0, ratio, 0, 0);
  brush.clearRect(0, 0, width, height);
  return brush;
}
