// Requests to the service: keys, patience where it is busy, and errors with its own words.

const KEY = "sparseret.key";
const PATIENCE = 5; // attempts where the service is busy

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let key = read();
let asking = null; // a promise while the user is asked for a key: all requests wait for one answer

function read() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null; // storage is switched off: the key lasts as long as the page
  }
}

/** Use a key from now on. */
export function useKey(given) {
  key = given;
  try {
    sessionStorage.setItem(KEY, given);
  } catch {
    // as above
  }
}

/** What the page does when it must ask, or wait; set once. */
export const handlers = {
  /** Ask the user for a key; a promise of having called useKey. */
  askKey: async (rejected) => {},
  /** Say that the service is busy, for how many seconds; 0 when it is over. */
  waiting: (seconds) => {},
};

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

/**
 * The JSON that the service answers: to a GET, or to a POST where there is a body.
 * Throws ApiError, or the reason of the signal where that aborts.
 */
export async function request(path, { body, signal } = {}) {
  for (let attempt = 1; ; attempt++) {
    signal?.throwIfAborted();
    const headers = { Accept: "application/json" };
    const used = key;
    if (used !== null) headers.Authorization = `Bearer ${used}`;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let response;
    try {
      response = await fetch(path, {
        method: body === undefined ? "GET" : "POST",
        headers,
        body: body === undefined ? null : JSON.stringify(body),
        signal,
      });
    } catch (error) {
      signal?.throwIfAborted();
      throw new ApiError(0, "The service does not answer.");
    }
    if (response.status === 401) {
      if (used === key) {
        asking ??= handlers.askKey(used !== null).finally(() => (asking = null));
        await asking;
      }
      attempt = 0;
      continue;
    }
    if (response.status === 429 && attempt < PATIENCE) {
      const given = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
      const seconds = Number.isFinite(given) && given >= 0 ? given : 1;
      handlers.waiting(seconds);
      try {
        await pause(seconds, signal);
      } finally {
        handlers.waiting(0);
      }
      continue;
    }
    if (response.ok) return response.json();
    throw new ApiError(response.status, await reason(response));
  }
}

async function reason(response) {
  try {
    return (await response.json()).error ?? `${response.status} ${response.statusText}`;
  } catch {
    return `${response.status} ${response.statusText}`; // of a proxy, say
  }
}
