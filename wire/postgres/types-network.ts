/** Addresses: inet, cidr, macaddr. */

/** inet and cidr: family, prefix length, is_cidr, address length, address. */
export function inetText(bytes: Buffer, offset: number): string {
  const prefix = bytes[offset + 1] ?? 0;
  const isCidr = bytes[offset + 2] === 1;
  const size = bytes[offset + 3] ?? 0;
  const address = bytes.subarray(offset + 4, offset + 4 + size);
  const shown = size === 4 ? address.join('.') : ipv6Text(address);
  return isCidr || prefix !== size * 8 ? `${shown}/${prefix}` : shown;
}

/** RFC 5952 with PostgreSQL's own habits: the longest run of zero groups as `::`, an embedded IPv4 address written out. */
function ipv6Text(address: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, i) => address.readUInt16BE(2 * i));
  let best = { at: -1, length: 1 };
  for (let i = 0; i < 8; i++) {
    let j = i;
    while (j < 8 && groups[j] === 0) j++;
    if (j - i > best.length) best = { at: i, length: j - i };
  }
  const embedded = best.at === 0 && (best.length === 6 || (best.length === 5 && groups[5] === 0xffff));
  const shown = embedded ? groups.slice(0, 6) : groups;
  const hex = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(':');
  let result = best.at < 0 ? hex(shown) : `${hex(shown.slice(0, best.at))}::${hex(shown.slice(best.at + best.length))}`;
  if (embedded) result += `${result.endsWith(':') ? '' : ':'}${address.subarray(12).join('.')}`;
  return result;
}

export function macaddrText(bytes: Buffer, offset: number, length: number): string {
  return Array.from({ length }, (_, i) => bytes.toString('hex', offset + i, offset + i + 1)).join(':');
}
