/** Transactions that the log has brought while a snapshot is under way, as long as a chunk may not see them. */

export class SeenTransactions {
  #xids: number[] = [];
  readonly #many: number;
  #limit: number;

  /** `many`: how many there are before they are looked through. */
  constructor(many: number) {
    this.#many = many;
    this.#limit = many;
  }

  add(xid: number): void {
    this.#xids.push(xid);
  }

  /** Whether those that everybody sees by now had better be forgotten: so the list stays short, however long no chunk comes. */
  get isLong(): boolean {
    return this.#xids.length >= this.#limit;
  }

  /** What is visible once stays so. */
  forget(isVisible: (xid: number) => boolean): void {
    this.#xids = this.#xids.filter((xid) => !isVisible(xid));
    this.#limit = Math.max(this.#many, 2 * this.#xids.length);
  }

  clear(): void {
    this.#xids = [];
    this.#limit = this.#many;
  }

  list(): readonly number[] {
    return [...this.#xids];
  }
}
