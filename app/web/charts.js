/** Small charts in SVG, drawn by hand: a stacked area over time with a strip for what was held, a sparkline, a histogram. */
import { attribute, h, s, text } from './dom.js';
import { duration, rate, timeOfDay } from './format.js';

const WIDTH = 600;
const HEIGHT = 150;
const STRIP = 38;
const GAP = 14;
const PAD = { top: 12, right: 4, bottom: 24, left: 48 };

const NAMES = { pass: 'Passed', warn: 'Warned', drop: 'Dropped', quarantine: 'Held' };

/**
 * Passed, warned and dropped stacked over time, and what was held below on a scale of its own: one row in a hundred would be a hairline
 * on the common one, and it is the one that people look for.
 */
export function flowChart(label) {
  const plotRight = WIDTH - PAD.right;
  const stripTop = HEIGHT + GAP;
  const total = stripTop + STRIP + PAD.bottom;
  const grid = s('g', { class: 'grid' });
  const areas = {
    pass: s('path', { class: 'area pass' }),
    warn: s('path', { class: 'area warn' }),
    drop: s('path', { class: 'area drop' }),
  };
  const edge = s('path', { class: 'edge' });
  const held = s('path', { class: 'bars quarantine' });
  const base = s('line', { class: 'axis', x1: PAD.left, x2: plotRight, y1: stripTop + STRIP, y2: stripTop + STRIP });
  const heldMax = s('text', { class: 'tick', x: PAD.left - 6, y: stripTop + 10, 'text-anchor': 'end' });
  const heldName = s('text', { class: 'tick held-name', x: PAD.left + 4, y: stripTop + 10 });
  heldName.textContent = 'held/s';
  const times = s('g', { class: 'times' });
  const cross = s('line', { class: 'cross', y1: PAD.top, y2: stripTop + STRIP, visibility: 'hidden' });
  const svg = s(
    'svg',
    { viewBox: `0 0 ${WIDTH} ${total}`, role: 'img', 'aria-label': label },
    grid,
    areas.pass,
    areas.warn,
    areas.drop,
    edge,
    held,
    base,
    heldMax,
    heldName,
    times,
    cross,
  );
  const tip = h('div', { class: 'tip', hidden: true });
  const root = h('div', { class: 'chart' }, svg, tip);
  let shown = [];

  const x = (i) => PAD.left + (i / Math.max(1, shown.length - 1)) * (plotRight - PAD.left);

  svg.addEventListener('pointermove', (event) => {
    const box = svg.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * WIDTH;
    const i = Math.round(((at - PAD.left) / (plotRight - PAD.left)) * (shown.length - 1));
    const point = shown[i];
    if (point === undefined) return leave();
    attribute(cross, 'visibility', 'visible');
    attribute(cross, 'x1', String(x(i)));
    attribute(cross, 'x2', String(x(i)));
    tip.replaceChildren(
      h('b', {}, timeOfDay(point.atS * 1000)),
      ...['pass', 'warn', 'drop', 'quarantine'].map((layer) => h('span', { class: layer }, `${NAMES[layer]} ${rate(point[layer])}/s`)),
      point.p99 === null ? null : h('span', {}, `p99 ${duration(point.p99)}`),
    );
    tip.hidden = false;
    const left = (x(i) / WIDTH) * box.width;
    tip.style.transform = left > box.width / 2 ? `translateX(calc(${left - 10}px - 100%))` : `translateX(${left + 10}px)`;
  });
  svg.addEventListener('pointerleave', leave);
  function leave() {
    attribute(cross, 'visibility', 'hidden');
    tip.hidden = true;
  }

  return {
    root,
    update(points, summary) {
      shown = points;
      attribute(svg, 'aria-label', `${label}. ${summary}`);
      const most = niceCeiling(Math.max(1, ...points.map((p) => p.pass + p.warn + p.drop)));
      const y = (value) => HEIGHT - (value / most) * (HEIGHT - PAD.top);
      grid.replaceChildren(
        ...[0, 0.5, 1].flatMap((share) => [
          s('line', { x1: PAD.left, x2: plotRight, y1: y(most * share), y2: y(most * share) }),
          tick(PAD.left - 6, y(most * share) + 4, 'end', rate(most * share)),
        ]),
      );
      let below = points.map(() => 0);
      for (const layer of ['pass', 'warn', 'drop']) {
        const above = points.map((p, i) => below[i] + p[layer]);
        const visible = layer === 'pass' || points.some((p) => p[layer] > 0);
        attribute(areas[layer], 'd', visible ? area(above, below, x, y) : '');
        below = above;
      }
      attribute(
        edge,
        'd',
        line(
          points.map((p) => p.pass),
          x,
          y,
        ),
      );
      const mostHeld = Math.max(1, ...points.map((p) => p.quarantine));
      const width = Math.max(1, (plotRight - PAD.left) / Math.max(1, points.length - 1) - 1);
      attribute(
        held,
        'd',
        points
          .map((p, i) =>
            p.quarantine === 0 ? '' : bar(x(i) - width / 2, width, stripTop + STRIP, Math.max(2, (p.quarantine / mostHeld) * (STRIP - 12))),
          )
          .join(''),
      );
      text(heldMax, points.some((p) => p.quarantine > 0) ? rate(mostHeld) : '0');
      const marks = [0, 0.25, 0.5, 0.75, 1].map((share) => Math.round(share * (points.length - 1)));
      const spanS = points.length < 2 ? 0 : (points[1].atS - points[0].atS) * points.length;
      times.replaceChildren(
        ...marks.map((i, n) => {
          const backS = Math.round(spanS * (1 - n / 4));
          const anchor = n === 0 ? 'start' : n === 4 ? 'end' : 'middle';
          return tick(x(i), total - 4, anchor, n === 4 ? 'now' : `−${Math.floor(backS / 60)}:${String(backS % 60).padStart(2, '0')}`);
        }),
      );
    },
  };
}

/** A line without axes; null is a gap. */
export function sparkline() {
  const path = s('path', { class: 'spark-line' });
  const fill = s('path', { class: 'spark-fill' });
  const root = s('svg', { class: 'spark', viewBox: '0 0 120 32', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, fill, path);
  return {
    root,
    update(values) {
      const most = Math.max(1e-9, ...values.map((v) => v ?? 0));
      const x = (i) => (i / Math.max(1, values.length - 1)) * 120;
      const y = (v) => 30 - (v / most) * 27;
      const filled = values.map((v) => v ?? 0);
      attribute(path, 'd', line(filled, x, y));
      attribute(
        fill,
        'd',
        area(
          filled,
          filled.map(() => 0),
          x,
          y,
        ),
      );
    },
  };
}

/** Scores in equal bins of [0, 1]; counts on a root scale, since nearly all rows score low and the few high ones matter. `from` marks a route's limit. */
export function histogram(label) {
  const W = 480;
  const H = 84;
  const bars = s('g');
  const limits = s('g', { class: 'limits' });
  const svg = s(
    'svg',
    { viewBox: `0 0 ${W} ${H + 18}`, role: 'img', 'aria-label': label },
    bars,
    limits,
    s('line', { class: 'axis', x1: 0, x2: W, y1: H, y2: H }),
    tick(0, H + 14, 'start', '0'),
    tick(W / 2, H + 14, 'middle', 'score'),
    tick(W, H + 14, 'end', '1'),
  );
  return {
    root: svg,
    update(bins, from = []) {
      const most = Math.sqrt(Math.max(1, ...bins));
      const width = W / bins.length;
      const lowest = from.length === 0 ? 2 : Math.min(...from);
      bars.replaceChildren(
        ...bins.map((n, i) =>
          s('rect', {
            class: (i + 0.5) / bins.length >= lowest ? 'bin high' : 'bin',
            x: i * width + 1,
            width: width - 2,
            y: H - (n === 0 ? 0 : Math.max(2, (Math.sqrt(n) / most) * (H - 6))),
            height: n === 0 ? 0 : Math.max(2, (Math.sqrt(n) / most) * (H - 6)),
            rx: 1.5,
          }),
        ),
      );
      limits.replaceChildren(...from.map((at) => s('line', { x1: at * W, x2: at * W, y1: 0, y2: H })));
      const all = bins.reduce((sum, n) => sum + n, 0);
      attribute(svg, 'aria-label', `${label}: ${all} rows scored`);
    },
  };
}

function tick(x, y, anchor, content) {
  const element = s('text', { class: 'tick', x, y, 'text-anchor': anchor });
  element.textContent = content;
  return element;
}

const at = (x, y) => `${x.toFixed(1)} ${y.toFixed(1)}`;
const line = (values, x, y) => values.map((v, i) => `${i === 0 ? 'M' : 'L'}${at(x(i), y(v))}`).join('');
const bar = (x, width, bottom, height) => `M${at(x, bottom)}v${(-height).toFixed(1)}h${width.toFixed(1)}v${height.toFixed(1)}z`;

function area(above, below, x, y) {
  if (above.length === 0) return '';
  const back = below.map((v, i) => `L${at(x(i), y(v))}`).reverse();
  return `${line(above, x, y)}${back.join('')}Z`;
}

/** The next of 1, 2, 5, 10, 20 … so that the scale does not change with every point. */
function niceCeiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= value) ?? 10 * power;
}
