// What the page asks of the command, with the token of the address that it was opened with.

const KEY = 'sampoll-annotate-token';

export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

// The token leaves the address at once, so that neither the history nor a copied address has it.
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get('token');
  if (given) {
    sessionStorage.setItem(KEY, given);
    history.replaceState(null, '', location.pathname);
  }
  return sessionStorage.getItem(KEY) !== null;
}

// The response to a request. While the model is being loaded, it is sent again; `onWait` is called then.
export async function ask(method, path, { body, signal, keepalive, onWait } = {}) {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem(KEY)}` };
  const content = body === undefined ? undefined : JSON.stringify(body);
  for (;;) {
    let response;
    try {
      response = await fetch(`/annotate/v1/${path}`, { method, headers, body: content, signal, keepalive });
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new Refused(0, 'unreachable', 'The command does not answer: is it still running? What was saved is kept.');
    }
    if (response.ok) return response;
    const refusal = await response.json().catch(() => ({ code: 'unknown', message: response.statusText }));
    if (response.status !== 503 || !onWait) throw new Refused(response.status, refusal.code, refusal.message);
    onWait(refusal.message);
    await pause(1000 * Number(response.headers.get('Retry-After') || 1), signal);
  }
}

export async function askJson(method, path, options) {
  return (await ask(method, path, options)).json();
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(new DOMException('aborted', 'AbortError'));
    });
  });
}
