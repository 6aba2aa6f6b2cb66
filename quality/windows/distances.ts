/** How far shares that are there are from those that were expected, bin by bin or category by category. */

/** The shares that were expected and those that are there, side by side. Each list adds up to 1. */
export type Distance = (expected: readonly number[], found: readonly number[], count: number) => number;

/** A share of nothing makes the index infinite: it stands for so many of a share that nobody could see. */
const SHARE_MIN = 1e-4;

export const psiOf: Distance = (expected, found) =>
  expected.reduce((sum, share, at) => {
    const [was, is] = [Math.max(share, SHARE_MIN), Math.max(found[at] ?? 0, SHARE_MIN)];
    return sum + (is - was) * Math.log(is / was);
  }, 0);

/** The greatest distance between the two cumulative shares, at the edges of the bins. */
export const ksOf: Distance = (expected, found) => {
  let [was, is, most] = [0, 0, 0];
  for (const [at, share] of expected.entries()) {
    was += share;
    is += found[at] ?? 0;
    most = Math.max(most, Math.abs(is - was));
  }
  return most;
};

/** Pearson's statistic: what was not expected at all makes it infinite. */
export const chiSquareOf: Distance = (expected, found, count) =>
  expected.reduce((sum, share, at) => {
    const difference = ((found[at] ?? 0) - share) * count;
    return difference === 0 ? sum : sum + difference ** 2 / (share * count);
  }, 0);

/** Jensen and Shannon's divergence in bits: the mean of how far both are from the shares in the middle, from 0 to 1. */
export const jsOf: Distance = (expected, found) =>
  expected.reduce((sum, was, at) => {
    const is = found[at] ?? 0;
    const middle = (was + is) / 2;
    const part = (share: number) => (share === 0 ? 0 : (share * Math.log2(share / middle)) / 2);
    return sum + part(was) + part(is);
  }, 0);

/** Kullback and Leibler's divergence, by natural logarithms: what was not expected at all makes it infinite. */
export const klOf: Distance = (expected, found) =>
  expected.reduce((sum, was, at) => {
    const is = found[at] ?? 0;
    return is === 0 ? sum : sum + is * Math.log(is / was);
  }, 0);

export function sharesOf(counts: readonly number[]): number[] {
  const all = counts.reduce((sum, count) => sum + count, 0);
  return counts.map((count) => count / all);
}
