/** The page: connects to the service and keeps what is shown in step with what it says. */
import { follow, onUnauthorized } from './api.js';
import { askToken } from './dialogs.js';
import { attribute, h, keyed, text } from './dom.js';
import { duration } from './format.js';
import { pipelineView } from './pipeline.js';
import { Series } from './series.js';

const series = new Series();
let clockOffsetMs = 0;
let status = null;
let windowS = 300;

const link = document.getElementById('link');
const linkText = document.getElementById('link-text');
const notice = document.getElementById('notice');
const loading = document.getElementById('loading');
const about = document.getElementById('about');

const context = { series, now: () => Date.now() + clockOffsetMs, windowS: () => windowS };
const views = new Map();
const pipelines = keyed(document.getElementById('pipelines'), (pipeline) => {
  const view = pipelineView(pipeline, context);
  views.set(pipeline.name, view);
  return view;
});

function render() {
  if (status === null) return;
  loading.hidden = true;
  pipelines(status.pipelines, (pipeline) => pipeline.name);
  const halted = status.pipelines.filter((one) => one.state === 'halted').length;
  document.title = halted > 0 ? '(halted) Tidegate' : status.ready ? 'Tidegate' : '(not ready) Tidegate';
  const failing = status.alerts.filter(
    (one) => one.gone || (one.lastFailure !== null && one.lastFailure.atMs > (one.lastDeliveredAtMs ?? 0)),
  );
  showNotice(failing.map((one) => `Alerts do not reach “${one.name}”: ${one.lastFailure?.why ?? 'it is gone'}.`));
  text(about, `Tidegate ${status.version}, up ${duration(context.now() - status.startedAtMs)}`);
}

function showNotice(lines) {
  notice.hidden = lines.length === 0;
  if (notice.dataset.words === lines.join('\n')) return;
  notice.dataset.words = lines.join('\n');
  notice.replaceChildren(...lines.map((line) => h('p', {}, line)));
}

function showLink(kind, words) {
  attribute(link, 'class', `link ${kind}`);
  text(linkText, words);
  document.documentElement.dataset.link = kind;
}

onUnauthorized(askToken);
void follow('api/events', {
  open: () => showLink('live', 'Live'),
  lost: (error, retryMs) => {
    showLink(
      'lost',
      `${error?.message ?? 'Connection lost'} Trying again in ${Math.max(1, Math.round(retryMs / 1000))} s`.replace(
        'lost Trying',
        'lost, trying',
      ),
    );
    text(loading.firstElementChild, 'The service does not answer. Is it running?');
  },
  event: (name, data) => {
    if (name === 'status') {
      status = data;
      clockOffsetMs = data.nowMs - Date.now();
    } else if (name === 'series') {
      // Comes behind each status: drawn together, so that the first picture is whole.
      series.add(data);
      render();
    } else if (name === 'quarantine') {
      for (const view of views.values()) view.quarantineChanged();
    }
  },
});

const remembered = Number(recall('tidegate.window'));
for (const radio of document.querySelectorAll('input[name=window]')) {
  if (Number(radio.value) === remembered) radio.checked = true;
  if (radio.checked) windowS = Number(radio.value);
  radio.addEventListener('change', () => {
    windowS = Number(radio.value);
    remember('tidegate.window', radio.value);
    render();
  });
}

document.getElementById('theme').addEventListener('click', () => {
  const { dataset } = document.documentElement;
  const dark = dataset.theme === undefined ? matchMedia('(prefers-color-scheme: dark)').matches : dataset.theme === 'dark';
  dataset.theme = dark ? 'light' : 'dark';
  remember('tidegate.theme', dataset.theme);
});

function remember(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // Storage is blocked: the choice lasts until the page is closed.
  }
}

function recall(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}
