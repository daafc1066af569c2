/** Makes tar archives entry by entry, also ones that no tar program would make. */

export interface MadeEntry {
  name: string;
  /** Type flag; '0' (a file) when absent. */
  type?: string;
  content?: string | Uint8Array;
  target?: string;
  mode?: number;
  /** Bytes that the header announces, when it shall lie. */
  sizeBytes?: number;
}

const BLOCK_BYTES = 512;

export function makeTar(entries: readonly MadeEntry[]): Buffer {
  return Buffer.concat([...entries.map(made), Buffer.alloc(2 * BLOCK_BYTES)]);
}

function made({ name, type = '0', content = '', target = '', mode = 0o644, sizeBytes }: MadeEntry): Buffer {
  const bytes = Buffer.from(content);
  const long = Buffer.byteLength(name) > 100 ? [made({ name: 'long', type: 'L', content: `${name}\0` })] : [];
  const header = Buffer.alloc(BLOCK_BYTES);
  const octal = (value: number, at: number, length: number): void => {
    header.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
  };
  header.write(name.slice(0, 100), 0);
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(sizeBytes ?? bytes.length, 124, 12);
  octal(1_700_000_000, 136, 12);
  header.write(type, 156, 'latin1');
  header.write(target, 157);
  header.write('ustar  \0', 257, 'latin1');
  header.fill(' ', 148, 156);
  octal(
    header.reduce((sum, byte) => sum + byte, 0),
    148,
    8,
  );
  const padding = Buffer.alloc((BLOCK_BYTES - (bytes.length % BLOCK_BYTES)) % BLOCK_BYTES);
  return Buffer.concat([...long, header, bytes, padding]);
}
