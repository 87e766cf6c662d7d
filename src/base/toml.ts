import { parse, stringify, TomlError } from 'smol-toml';

export type TomlResult =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly line: number; readonly column: number; readonly message: string };

/** Parses TOML 1.0. Never throws: a syntax error comes back with line and column, 1-based; `indexToml` has the places of keys. */
export function parseToml(text: string): TomlResult {
  try {
    return { ok: true, value: parse(text, { integersAsBigInt: false }) };
  } catch (error) {
    if (error instanceof TomlError) {
      const message = (error.message.split('\n')[0] ?? '').replace(/^Invalid TOML document: /, '');
      return { ok: false, line: error.line, column: error.column, message };
    }
    return { ok: false, line: 1, column: 1, message: error instanceof Error ? error.message : String(error) };
  }
}

export { stringify as stringifyToml };
