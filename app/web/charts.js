/** Small charts in SVG, drawn by hand: a stacked area over time with a strip for what was held, a sparkline, a histogram. */
import { attribute, h, s, text } from './dom.js';
import { duration, rate, timeOfDay } from './format.js';

/** In pixels: the width is that of the card. */
const HEIGHT = 112;
const STRIP = 30;
const GAP = 8;
const TOP = 16;
const BOTTOM = 18;

const NAMES = { pass: 'Passed', warn: 'Warned', drop: 'Dropped', quarantine: 'Held' };

/**
 * Passed, warned and dropped stacked over time, and what was held below on a scale of its own: one row in a hundred would be a hairline
 * on the common one, and it is the one that people look for. A short peak (the first copy of a table) is cut and labelled, so that it does
 * not press everything after it flat.
 */
export function flowChart(label) {
  const stripTop = HEIGHT + GAP;
  const stripBottom = stripTop + STRIP;
  const total = stripBottom + BOTTOM;
  const grid = s('g', { class: 'grid' });
  const areas = {
    pass: s('path', { class: 'area pass' }),
    warn: s('path', { class: 'area warn' }),
    drop: s('path', { class: 'area drop' }),
  };
  const edge = s('path', { class: 'edge' });
  const scale = s('g');
  const peaks = s('g');
  const held = s('path', { class: 'bars quarantine' });
  const base = s('line', { class: 'axis', x1: 0, y1: stripBottom, y2: stripBottom });
  const heldName = tick(0, stripTop + 9, 'start', '');
  const times = s('g', { class: 'times' });
  const cross = s('line', { class: 'cross', y1: TOP, y2: stripBottom, visibility: 'hidden' });
  const svg = s(
    'svg',
    { height: total, role: 'img', 'aria-label': label },
    grid,
    areas.pass,
    areas.warn,
    areas.drop,
    edge,
    scale,
    peaks,
    held,
    base,
    heldName,
    times,
    cross,
  );
  const tip = h('div', { class: 'tip', hidden: true });
  const root = h('div', { class: 'chart' }, svg, tip);
  let shown = [];
  let width = 400;
  new ResizeObserver(([entry]) => {
    width = entry.contentRect.width;
    draw();
  }).observe(svg);

  const x = (i) => (i / Math.max(1, shown.length - 1)) * width;

  svg.addEventListener('pointermove', (event) => {
    const box = svg.getBoundingClientRect();
    const i = Math.round(((event.clientX - box.left) / box.width) * (shown.length - 1));
    const point = shown[i];
    if (point === undefined || !point.known) return leave();
    attribute(cross, 'visibility', 'visible');
    attribute(cross, 'x1', String(x(i)));
    attribute(cross, 'x2', String(x(i)));
    tip.replaceChildren(
      h('b', {}, timeOfDay(point.atS * 1000)),
      ...['pass', 'warn', 'drop', 'quarantine'].map((layer) => h('span', { class: layer }, `${NAMES[layer]} ${rate(point[layer])}/s`)),
      point.p99 === null ? null : h('span', {}, `p99 ${duration(point.p99)}`),
    );
    tip.hidden = false;
    const left = x(i);
    tip.style.transform = left > box.width / 2 ? `translateX(calc(${left - 10}px - 100%))` : `translateX(${left + 10}px)`;
  });
  svg.addEventListener('pointerleave', leave);
  function leave() {
    attribute(cross, 'visibility', 'hidden');
    tip.hidden = true;
  }

  function draw() {
    const points = shown;
    attribute(base, 'x2', String(width));
    const first = points.findIndex(({ known }) => known);
    const from = first < 0 ? points.length : first;
    const sums = points.map((p) => p.pass + p.warn + p.drop);
    const most = ceilingOf(sums);
    const y = (value) => HEIGHT - (Math.min(value, most) / most) * (HEIGHT - TOP);
    grid.replaceChildren(...[0, 0.5, 1].map((share) => s('line', { x1: 0, x2: width, y1: y(most * share), y2: y(most * share) })));
    scale.replaceChildren(tick(0, y(most) - 5, 'start', `${rate(most)}/s`));
    let below = points.map(() => 0);
    for (const layer of ['pass', 'warn', 'drop']) {
      const above = points.map((p, i) => below[i] + p[layer]);
      const visible = layer === 'pass' || points.some((p) => p[layer] > 0);
      attribute(areas[layer], 'd', visible ? area(above, below, x, y, from) : '');
      below = above;
    }
    attribute(
      edge,
      'd',
      line(
        points.map((p) => p.pass),
        x,
        y,
        from,
      ),
    );
    peaks.replaceChildren(
      ...cutPeaks(sums, most).map(({ i, value }) => {
        const anchor = x(i) < 50 ? 'start' : x(i) > width - 50 ? 'end' : 'middle';
        return tick(x(i), TOP - 6, anchor, `▲ ${rate(value)}`);
      }),
    );
    const mostHeld = Math.max(1, ...points.map((p) => p.quarantine)); // Never cut: what stands out here is what people look for.
    const step = Math.max(1, width / Math.max(1, points.length) - 1);
    const slot = (i) => Math.min(width - step, Math.max(0, x(i) - step / 2));
    attribute(
      held,
      'd',
      points
        .map((p, i) => (p.quarantine === 0 ? '' : bar(slot(i), step, stripBottom, Math.max(2, (p.quarantine / mostHeld) * (STRIP - 12)))))
        .join(''),
    );
    text(heldName, points.some((p) => p.quarantine > 0) ? `held, at most ${rate(mostHeld)}/s` : 'nothing held');
    const marks = [0, 0.25, 0.5, 0.75, 1].map((share) => Math.round(share * (points.length - 1)));
    const spanS = points.length < 2 ? 0 : (points[1].atS - points[0].atS) * points.length;
    times.replaceChildren(
      ...marks.map((i, n) => {
        const backS = Math.round(spanS * (1 - n / 4));
        const anchor = n === 0 ? 'start' : n === 4 ? 'end' : 'middle';
        return tick(x(i), total - 4, anchor, n === 4 ? 'now' : `−${Math.floor(backS / 60)}:${String(backS % 60).padStart(2, '0')}`);
      }),
    );
  }

  return {
    root,
    update(points, summary) {
      shown = points;
      attribute(svg, 'aria-label', `${label}. ${summary}`);
      draw();
    },
  };
}

/** A line without axes; what comes before the first value that is not null is not drawn. */
export function sparkline() {
  const path = s('path', { class: 'spark-line' });
  const fill = s('path', { class: 'spark-fill' });
  const root = s('svg', { class: 'spark', viewBox: '0 0 120 32', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, fill, path);
  return {
    root,
    update(values) {
      const first = values.findIndex((v) => v !== null);
      const from = first < 0 ? values.length : first;
      const filled = values.map((v) => v ?? 0);
      const most = ceilingOf(filled);
      const x = (i) => (i / Math.max(1, values.length - 1)) * 120;
      const y = (v) => 30 - (Math.min(v, most) / most) * 27;
      attribute(path, 'd', line(filled, x, y, from));
      attribute(
        fill,
        'd',
        area(
          filled,
          filled.map(() => 0),
          x,
          y,
          from,
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
const line = (values, x, y, from = 0) => values.map((v, i) => (i < from ? '' : `${i === from ? 'M' : 'L'}${at(x(i), y(v))}`)).join('');
const bar = (x, width, bottom, height) => `M${at(x, bottom)}v${(-height).toFixed(1)}h${width.toFixed(1)}v${height.toFixed(1)}z`;

function area(above, below, x, y, from) {
  if (from >= above.length) return '';
  const back = below.map((v, i) => (i < from ? '' : `L${at(x(i), y(v))}`)).reverse();
  return `${line(above, x, y, from)}${back.join('')}Z`;
}

/** Fewer values than this say nothing of what is usual. */
const USUAL = 10;

/** The top of a scale: that of the highest value, or, where it stands far above nearly all others, of those others. */
function ceilingOf(values) {
  const sorted = values.filter((v) => v > 0).sort((a, b) => a - b);
  const highest = sorted.at(-1) ?? 1;
  const usual = sorted.length < USUAL ? highest : sorted[Math.floor(0.9 * (sorted.length - 1))];
  return niceCeiling(highest > 4 * usual ? 1.5 * usual : highest);
}

/** The highest value of each run of values beyond the scale. */
function cutPeaks(values, most) {
  const peaks = [];
  let last = null;
  for (const [i, value] of values.entries()) {
    if (value <= most) last = null;
    else if (last === null) peaks.push((last = { i, value }));
    else if (value > last.value) Object.assign(last, { i, value });
  }
  return peaks;
}

/** The next of 1, 1.5, 2, 3, 5, 7.5, 10, 15 … so that the scale does not change with every point. */
function niceCeiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 5, 7.5, 10].map((n) => n * power).find((n) => n >= value) ?? 10 * power;
}
