/** Talks to the service: requests, and the stream of events with its reconnects. */

const TOKEN = 'tidegate.token';

/** What the service said was wrong (problem+json), or that it could not be reached (`status` 0). */
export class ApiError extends Error {
  constructor(status, message, fix = null) {
    super(message);
    this.status = status;
    this.fix = fix;
  }
}

let token = read();
let askToken = async () => null;

/** `ask` shows a dialog and resolves with a token, or null where the person gave none. Asked once for all requests that wait. */
export function onUnauthorized(ask) {
  let asking = null;
  askToken = () => {
    asking ??= ask().finally(() => {
      asking = null;
    });
    return asking;
  };
}

export async function get(path) {
  return (await send('GET', path)).json();
}

export async function post(path, body) {
  const answer = await send('POST', path, body);
  const text = await answer.text();
  return text === '' ? {} : JSON.parse(text);
}

async function send(method, path, body, signal) {
  for (;;) {
    const used = token;
    let answer;
    try {
      answer = await fetch(path, {
        method,
        signal,
        headers: {
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...(used === null ? {} : { authorization: `Bearer ${used}` }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    } catch (cause) {
      if (signal?.aborted) throw cause;
      throw new ApiError(0, 'The service cannot be reached.');
    }
    if (answer.ok) return answer;
    if (answer.status === 401) {
      if (token !== used) continue; // Another request has asked in the meantime.
      const given = await askToken();
      if (given === null) throw new ApiError(401, 'A token is needed.');
      token = given;
      keep(given);
      continue;
    }
    throw await problemOf(answer);
  }
}

async function problemOf(answer) {
  try {
    const problem = await answer.json();
    const details = (problem.findings ?? []).map((one) => one.detail).join(' ');
    return new ApiError(answer.status, problem.detail ?? (details || problem.title) ?? answer.statusText, problem.fix ?? null);
  } catch {
    return new ApiError(answer.status, `The service answered ${answer.status}.`);
  }
}

/** Silence after which the stream is taken for dead: the service sends something every second. */
const SILENCE_MS = 12_000;

/**
 * Reads `path` as server-sent events for as long as the page lives. `on.event(name, data)` for each; `on.open()` and `on.lost(error, retryMs)`
 * when the connection comes and goes. Uses fetch, since an EventSource cannot send a token.
 */
export async function follow(path, on) {
  for (let failures = 0; ; failures++) {
    const stop = new AbortController();
    let error = null;
    let watchdog = setTimeout(() => stop.abort(), SILENCE_MS);
    try {
      const answer = await send('GET', path, undefined, stop.signal);
      for await (const { name, data } of events(answer.body)) {
        clearTimeout(watchdog);
        watchdog = setTimeout(() => stop.abort(), SILENCE_MS);
        if (failures >= 0) on.open();
        failures = -1;
        on.event(name, data);
      }
    } catch (cause) {
      error = cause;
    } finally {
      clearTimeout(watchdog);
      stop.abort();
    }
    if (failures < 0) failures = 0;
    const retryMs = Math.min(10_000, 500 * 2 ** Math.min(failures, 5)) * (0.7 + 0.6 * Math.random());
    on.lost(error instanceof ApiError && error.status !== 0 ? error : null, retryMs);
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, retryMs);
      // Someone who comes back to the tab does not want to wait.
      addEventListener('focus', () => (clearTimeout(timer), resolve()), { once: true });
    });
  }
}

/** Parses text/event-stream; comments and unfinished events are left out. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      rest += value;
      for (let end = rest.search(/\r?\n\r?\n/); end >= 0; end = rest.search(/\r?\n\r?\n/)) {
        const block = rest.slice(0, end);
        rest = rest.slice(end).replace(/^\r?\n\r?\n/, '');
        let name = 'message';
        const data = [];
        for (const line of block.split(/\r?\n/)) {
          if (line.startsWith('event:')) name = line.slice(6).trim();
          else if (line.startsWith('data:')) data.push(line.slice(5).replace(/^ /, ''));
        }
        if (data.length > 0) yield { name, data: JSON.parse(data.join('\n')) };
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function read() {
  try {
    return sessionStorage.getItem(TOKEN);
  } catch {
    return null;
  }
}

function keep(value) {
  try {
    sessionStorage.setItem(TOKEN, value);
  } catch {
    // Then it is asked for again after a reload.
  }
}
