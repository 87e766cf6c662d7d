/** One line of the table: what was measured, in which unit, and every single measurement. */
export interface Row {
  readonly bench: string;
  readonly what: string;
  readonly unit: string;
  readonly values: readonly number[];
  readonly note?: string;
}

export interface Summary {
  readonly bench: string;
  readonly what: string;
  readonly unit: string;
  readonly n: number;
  readonly median: number;
  readonly min: number;
  readonly p95: number;
  readonly note: string;
}

/** The rows as an aligned table; numbers to the right, a line between two benches. */
export function formatTable(rows: readonly Row[]): string {
  const head = ['bench', 'what', 'unit', 'median', 'min', 'p95', 'n', 'note'];
  const lines = rows.map(summaryOf).map((row) => ({
    bench: row.bench,
    cells: [
      row.bench,
      row.what,
      row.unit,
      shown(row.median),
      ...(row.n === 1 ? ['', ''] : [shown(row.min), shown(row.p95)]),
      String(row.n),
      row.note,
    ],
  }));
  const widths = head.map((title, column) =>
    Math.max(title.length, ...lines.map(({ cells }) => cells[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) =>
        column >= 3 && column <= 6 ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd();
  const printed = lines.flatMap(({ bench, cells }, index) => {
    const isNext = index > 0 && lines[index - 1]?.bench !== bench;
    return [...(isNext ? [''] : []), line(cells)];
  });
  return [line(head), line(head.map((_, column) => '─'.repeat(widths[column] ?? 0))), ...printed].join('\n');
}

export function summaryOf(row: Row): Summary {
  const sorted = [...row.values].sort((a, b) => a - b);
  return {
    bench: row.bench,
    what: row.what,
    unit: row.unit,
    n: sorted.length,
    median: rounded(quantile(sorted, 0.5)),
    min: rounded(sorted[0] ?? NaN),
    p95: rounded(quantile(sorted, 0.95)),
    note: row.note ?? '',
  };
}

/** Between the two nearest measurements: with five of them, p95 lies close to the greatest. */
export function quantile(sorted: readonly number[], q: number): number {
  const at = (sorted.length - 1) * q;
  const low = sorted[Math.floor(at)] ?? NaN;
  const high = sorted[Math.ceil(at)] ?? NaN;
  return low + (high - low) * (at - Math.floor(at));
}

function rounded(value: number): number {
  return Number(value.toPrecision(4));
}

function shown(value: number): string {
  if (!Number.isFinite(value)) return '–';
  return value >= 100 ? value.toFixed(0) : value.toFixed(value >= 10 ? 1 : 2);
}
