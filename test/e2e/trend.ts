/** A trend that a few odd points do not bend (Theil and Sen): the median of the slopes between all pairs. */
export function trendOf(points: readonly (readonly [x: number, y: number])[]): number {
  const slopes: number[] = [];
  for (const [i, [x, y]] of points.entries()) {
    for (const [laterX, laterY] of points.slice(i + 1)) if (laterX > x) slopes.push((laterY - y) / (laterX - x));
  }
  return slopes.length === 0 ? 0 : medianOf(slopes);
}

export function medianOf(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2;
}
