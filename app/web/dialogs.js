/** Dialogs and short messages. All are native <dialog>s: the focus stays inside, Escape closes them. */
import { ApiError } from './api.js';
import { h } from './dom.js';

/** Shows a dialog and resolves with what `close(value)` was called with, or null where it was dismissed. */
export function dialog(title, build) {
  return new Promise((resolve) => {
    let result = null;
    const close = (value) => {
      result = value;
      root.close();
    };
    const heading = h('h2', { id: `dialog-${Math.random().toString(36).slice(2)}` }, title);
    const root = h('dialog', { 'aria-labelledby': heading.id }, h('form', { method: 'dialog', class: 'dialog' }, heading, ...build(close)));
    root.addEventListener('close', () => {
      root.remove();
      resolve(result);
    });
    root.addEventListener('click', (event) => {
      if (event.target === root) root.close(); // A click on the backdrop.
    });
    document.body.append(root);
    root.showModal();
  });
}

export function askToken() {
  return dialog('This service asks for a token', (close) => {
    const field = h('input', { type: 'password', id: 'token', autocomplete: 'current-password', required: true, minlength: 16 });
    return [
      h('p', {}, 'Give one of the tokens under http.tokens of the config. It is kept until you close this tab.'),
      h('label', { for: 'token' }, 'Token', field),
      h(
        'div',
        { class: 'actions' },
        h('button', { type: 'button', onclick: () => close(null) }, 'Cancel'),
        h(
          'button',
          { class: 'primary', onclick: (event) => (event.preventDefault(), field.reportValidity() && close(field.value)) },
          'Go on',
        ),
      ),
    ];
  });
}

/** A message that goes away by itself; problems stay until they are dismissed. */
export function toast(kind, message, fix = null) {
  const root = h(
    'div',
    { class: `toast ${kind}` },
    h('p', {}, message, fix === null ? null : h('span', { class: 'fix' }, fix)),
    h('button', { type: 'button', class: 'icon', 'aria-label': 'Dismiss', onclick: () => root.remove() }, '×'),
  );
  document.getElementById('toasts').append(root);
  if (kind !== 'bad') setTimeout(() => root.remove(), 6_000);
}

/** Runs what a button does: once at a time, with what goes wrong shown. */
export async function act(button, work) {
  if (button.getAttribute('aria-busy') === 'true') return;
  button.setAttribute('aria-busy', 'true');
  button.disabled = true;
  try {
    await work();
  } catch (error) {
    if (error instanceof ApiError) toast('bad', error.message, error.fix);
    else {
      console.error(error);
      toast('bad', 'Something on this page went wrong. Reload it and try again.');
    }
  } finally {
    button.removeAttribute('aria-busy');
    button.disabled = false;
  }
}
