/** The service levels of a table: what is left of each error budget, and how fast it is used up. */
import { attribute, h, text } from './dom.js';
import { count } from './format.js';

const shortRate = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });

export const isInTrouble = (levels) => levels.some(({ troubles }) => troubles.length > 0);

export function sloView(table) {
  const list = h('ol', { 'aria-label': `Service levels of ${table}` });
  const root = h('div', { class: 'levels', hidden: true }, h('h4', {}, 'Service levels'), list);
  return {
    root,
    update(levels) {
      root.hidden = levels.length === 0;
      while (list.children.length > levels.length) list.lastElementChild.remove();
      while (list.children.length < levels.length)
        list.append(
          h(
            'li',
            {},
            h('span'),
            h('b'),
            h(
              'span',
              { class: 'budget', role: 'meter', 'aria-valuemin': 0, 'aria-valuemax': 100, 'aria-label': 'Error budget left' },
              h('i'),
            ),
            h('p', { class: 'quiet' }),
          ),
        );
      for (const [i, level] of levels.entries()) showLevel(list.children[i].children, level);
    },
  };
}

function showLevel([promise, left, meter, about], { id, promise: words, budgetLeft, burns, good, bad, troubles }) {
  text(promise, words);
  attribute(promise, 'title', id);
  const [kind, said] = stateOf(budgetLeft, troubles);
  attribute(left, 'class', `chip ${kind}`);
  text(left, said);
  const share = Math.min(1, Math.max(0, budgetLeft ?? 0));
  attribute(meter, 'class', `budget ${kind}`);
  attribute(meter, 'aria-valuenow', String(Math.round(share * 100)));
  meter.firstElementChild.style.width = `${share * 100}%`;
  const rates = burns.filter(({ long }) => long !== null).map(({ long, window }) => `${shortRate.format(long)}× over ${window}`);
  const counted = `${count(bad)} bad of ${count(good + bad)}`;
  text(
    about,
    troubles.length > 0
      ? troubles.join('; ')
      : [counted, rates.length === 0 ? '' : `burns ${rates.join(', ')}`].filter(Boolean).join(' · '),
  );
}

function stateOf(budgetLeft, troubles) {
  if (budgetLeft === null) return ['quiet', 'nothing counted'];
  if (budgetLeft < 0) return ['bad', troubles.length > 0 ? 'not kept' : 'too little counted'];
  return [troubles.length > 0 ? 'warn' : 'good', `${Math.round(budgetLeft * 100)} % of budget left`];
}
