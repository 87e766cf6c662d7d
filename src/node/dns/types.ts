/** Whose a record is: what stands at the mark's name beside it. */
export interface RecordMark {
  readonly owner: string;
  readonly service: string;
  /** The values that are its owner's. */
  readonly addresses: readonly string[];
}
