/** An order at a CA, as it stands. */
export type CertificateOrder =
  | { readonly kind: 'ordered'; readonly since: number; readonly progress?: string }
  | {
      readonly kind: 'failed';
      readonly at: number;
      readonly why: string;
      readonly hint: string;
      readonly retryAt: number;
    };

export type CertificateState =
  | {
      readonly kind: 'valid';
      readonly certPath: string;
      readonly keyPath: string;
      readonly notAfter: number;
      readonly fingerprint256: string;
      /** Mode of the key's file, as `0644`, where others than its owner may read or write it. */
      readonly keyMode?: string;
      /** From when on it is renewed by itself. Absent: it is not ours, and somebody else renews it. */
      readonly renewsAt?: number;
      /** Less than a third of its life is left, and a CA is to be asked, is being asked, or did not give another one. */
      readonly renewal?: { readonly kind: 'due' } | CertificateOrder;
    }
  /** None that may be used, and a CA was asked. `endedAt`: the one in place has come to its end. */
  | (CertificateOrder & { readonly certPath: string; readonly endedAt?: number })
  | { readonly kind: 'absent'; readonly certPath: string; readonly hint: string; readonly endedAt?: number }
  /** Issued here, and not asked for: `<name>.pem`. */
  | { readonly kind: 'left'; readonly name: string }
  | {
      readonly kind: 'invalid';
      readonly certPath: string;
      readonly why: string;
      readonly hint: string;
      readonly endedAt?: number;
    }
  | { readonly kind: 'unknown'; readonly why: string };
