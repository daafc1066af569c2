/** Keeps the last bytes of a stream in a ring of fixed size, and counts its lines. */
export interface OutputTail {
  push(chunk: Uint8Array): void;
  /** The last bytes as UTF-8, begun at a whole character; never longer than the ring when encoded again. */
  text(): string;
  /** Lines seen in all; a last line without a newline counts. */
  lines(): number;
}

const NEWLINE = 0x0a;

export function createOutputTail(bytesMax: number): OutputTail {
  const ring = Buffer.alloc(bytesMax);
  let seenBytes = 0;
  let newlines = 0;
  let endsOpen = false;

  const kept = (): Buffer => {
    if (seenBytes <= bytesMax) return ring.subarray(0, seenBytes);
    const cut = seenBytes % bytesMax;
    return Buffer.concat([ring.subarray(cut), ring.subarray(0, cut)]);
  };

  return {
    push(chunk) {
      if (chunk.length === 0) return;
      newlines += countNewlines(chunk);
      endsOpen = chunk[chunk.length - 1] !== NEWLINE;
      const tail = chunk.subarray(Math.max(0, chunk.length - bytesMax));
      const at = bytesMax === 0 ? 0 : (seenBytes + chunk.length - tail.length) % bytesMax;
      const first = tail.subarray(0, bytesMax - at);
      ring.set(first, at);
      ring.set(tail.subarray(first.length), 0);
      seenBytes += chunk.length;
    },
    text: () => textOf(bytesMax === 0 ? Buffer.alloc(0) : kept(), bytesMax, seenBytes > bytesMax),
    lines: () => newlines + (endsOpen ? 1 : 0),
  };
}

function countNewlines(chunk: Uint8Array): number {
  let count = 0;
  for (let at = chunk.indexOf(NEWLINE); at !== -1; at = chunk.indexOf(NEWLINE, at + 1)) count += 1;
  return count;
}

function textOf(bytes: Buffer, bytesMax: number, cut: boolean): string {
  let text = (cut ? fromWholeCharacter(bytes) : bytes).toString('utf8');
  // Every byte that is not UTF-8 became a U+FFFD of three bytes; the bound is for what is kept.
  for (let encoded = Buffer.from(text); encoded.length > bytesMax; encoded = Buffer.from(text)) {
    text = fromWholeCharacter(encoded.subarray(encoded.length - bytesMax)).toString('utf8');
  }
  return text;
}

/** Drops what is left at the front of a character that was cut. */
function fromWholeCharacter(bytes: Buffer): Buffer {
  let start = 0;
  while (start < 3 && start < bytes.length && ((bytes[start] ?? 0) & 0xc0) === 0x80) start += 1;
  return bytes.subarray(start);
}
