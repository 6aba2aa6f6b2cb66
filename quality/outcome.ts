/** What a check says of a row. Numbers, so that a passing row allocates nothing. `Unreadable`: the check cannot judge this row at all. */
export const Outcome = { Pass: 0, Fail: 1, Unreadable: 2 } as const;
export type Outcome = (typeof Outcome)[keyof typeof Outcome];
