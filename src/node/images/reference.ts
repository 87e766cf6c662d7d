/** 127.0.0.0/8, ::1 and localhost, with or without a port: the only hosts that may be asked without TLS. */
export function isLoopback(host: string): boolean {
  if (!URL.canParse(`http://${host}/`)) return false;
  const { hostname } = new URL(`http://${host}/`);
  return hostname === 'localhost' || hostname === '[::1]' || /^127(?:\.\d{1,3}){3}$/.test(hostname);
}
