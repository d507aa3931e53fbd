// A client of the service for storefronts in TypeScript. Copy this file and client-types.ts; they need nothing but `fetch`
// (Node 18 or newer). Call it from the shop's server: in a browser everybody could read the key. See docs/client.md.

import type {
  BatchResponse,
  Categories,
  ComplementsRequest,
  ErasureResponse,
  EventsResponse,
  ExperimentsResponse,
  ExplainResponse,
  FieldProblem,
  FindResponse,
  InspectedItem,
  InspectedShopper,
  ItemDetail,
  ItemFields,
  ItemMap,
  ItemResponse,
  ItemsResponse,
  ListRequest,
  MergeResponse,
  PopularRequest,
  ReleaseResponse,
  SearchRequest,
  ShopEvent,
  ShopItem,
  Shoppers,
  SimilarRequest,
  SlateResponse,
} from "./client-types";

export type * from "./client-types";

/** The service refused the request, or did not answer (status 0). */
export class ProblemError extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    readonly errors: FieldProblem[] = [],
    readonly request_id = "",
  ) {
    super(`${status} ${title}: ${detail}`);
  }
}

export interface Options {
  key?: string;
  /** Time limit for a list, including retries. */
  listTimeoutMs?: number;
  /** Time limit for batches, events and items, including retries: no shopper waits for them. */
  bulkTimeoutMs?: number;
  retries?: number;
}

const TRIED_AGAIN = new Set([0, 429, 502, 503, 504]);
const FIRST_PAUSE_MS = 100;

/** One method per route. With `fallback`, ids of your own, a list method never throws ProblemError: it returns them instead. */
export class Client {
  constructor(
    private readonly url: string,
    private readonly options: Options = {},
  ) {}

  recommend(request: ListRequest, fallback?: string[]): Promise<SlateResponse> {
    return this.list("POST", "/v1/recommend", request, fallback);
  }

  search(request: SearchRequest, fallback?: string[]): Promise<SlateResponse> {
    return this.list("POST", "/v1/search", request, fallback);
  }

  similar(request: SimilarRequest, fallback?: string[]): Promise<SlateResponse> {
    return this.list("POST", "/v1/similar", request, fallback);
  }

  complements(request: ComplementsRequest, fallback?: string[]): Promise<SlateResponse> {
    return this.list("POST", "/v1/complements", request, fallback);
  }

  popular(request: PopularRequest = {}, fallback?: string[]): Promise<SlateResponse> {
    const query = new URLSearchParams(Object.entries(request).map(([name, value]) => [name, String(value)]));
    return this.list("GET", `/v1/popular?${query}`, undefined, fallback);
  }

  recommendBatch(requests: ListRequest[]): Promise<BatchResponse> {
    return this.bulk("POST", "/v1/recommend:batch", { requests });
  }

  /** Each event gets an id before it is first sent, so that it counts once even if it is sent twice. */
  sendEvents(events: ShopEvent[]): Promise<EventsResponse> {
    const named = events.map((event) => ({ event_id: globalThis.crypto.randomUUID(), ...event }));
    return this.bulk("POST", "/v1/events", { events: named });
  }

  putItem(itemId: string, fields: ItemFields): Promise<ItemResponse> {
    return this.bulk("PUT", `/v1/items/${encodeURIComponent(itemId)}`, fields);
  }

  putItems(items: ShopItem[]): Promise<ItemsResponse> {
    return this.bulk("PUT", "/v1/items", { items });
  }

  deleteItem(itemId: string): Promise<ItemResponse> {
    return this.bulk("DELETE", `/v1/items/${encodeURIComponent(itemId)}`);
  }

  item(itemId: string): Promise<ItemDetail> {
    return this.bulk("GET", `/v1/items/${encodeURIComponent(itemId)}`);
  }

  categories(): Promise<Categories> {
    return this.bulk("GET", "/v1/categories");
  }

  /** A sample of known shoppers to try lists with. Needs the scope `admin`. */
  shoppers(count = 8): Promise<Shoppers> {
    return this.bulk("GET", `/v1/shoppers?count=${count}`);
  }

  /** Stop using a shopper's data now, and erase it with the next nightly run. Needs the scope `admin`. */
  eraseUser(userId: string): Promise<ErasureResponse> {
    return this.bulk("DELETE", `/v1/users/${encodeURIComponent(userId)}`);
  }

  /** What was done under `userIds`, such as that of the cookie before a login, belongs to this shopper from now on. */
  mergeUsers(userId: string, userIds: string[]): Promise<MergeResponse> {
    return this.bulk("POST", `/v1/users/${encodeURIComponent(userId)}:merge`, { user_ids: userIds });
  }

  /** Items and shoppers by id or words. All `inspect…` methods need the scope `admin`. */
  inspectFind(words: string, count = 8): Promise<FindResponse> {
    return this.bulk("GET", `/v1/inspect/find?${new URLSearchParams({ words, count: String(count) })}`);
  }

  /** An item and its neighbours in each vector space. */
  inspectItem(itemId: string): Promise<InspectedItem> {
    return this.bulk("GET", `/v1/inspect/items/${encodeURIComponent(itemId)}`);
  }

  /** A shopper's history, and the reasons for their list, which is not recorded. */
  inspectShopper(userId: string, count = 10): Promise<InspectedShopper> {
    return this.bulk("GET", `/v1/inspect/shoppers/${encodeURIComponent(userId)}?count=${count}`);
  }

  /** Every item on a map of similar items. */
  inspectMap(): Promise<ItemMap> {
    return this.bulk("GET", "/v1/inspect/map");
  }

  /** Why a list had these items. */
  explain(recommendationId: string): Promise<ExplainResponse> {
    return this.bulk("GET", `/v1/explain/${encodeURIComponent(recommendationId)}`);
  }

  /** Results of the experiments. */
  experiments(metric: "click" | "cart" | "purchase" = "purchase"): Promise<ExperimentsResponse> {
    return this.bulk("GET", `/v1/experiments?metric=${metric}`);
  }

  release(): Promise<ReleaseResponse> {
    return this.bulk("GET", "/v1/release");
  }

  private async list(method: string, path: string, body?: object, fallback?: string[]): Promise<SlateResponse> {
    try {
      return await this.call<SlateResponse>(method, path, body, this.options.listTimeoutMs ?? 1000);
    } catch (problem) {
      if (fallback === undefined || !(problem instanceof ProblemError)) throw problem;
      console.warn(`list request failed, showing the fallback: ${problem.message}`);
      const plain = { score: 0, source: "unavailable", title: null };
      const items = fallback.map((item_id, place) => ({ item_id, rank: place + 1, ...plain }));
      return { recommendation_id: "", items, fallback: "unavailable", release_id: "", took_ms: 0 };
    }
  }

  private bulk<T>(method: string, path: string, body?: object): Promise<T> {
    return this.call<T>(method, path, body, this.options.bulkTimeoutMs ?? 60_000);
  }

  /** Every request may safely be sent twice, so temporary failures are retried, after pauses that double. */
  private async call<T>(method: string, path: string, body: object | undefined, timeoutMs: number): Promise<T> {
    const deadline = Date.now() + timeoutMs;
    const retries = this.options.retries ?? 2;
    for (let attempt = 0; ; attempt++) {
      const answer = await this.attempt(method, path, body, deadline - Date.now());
      const pauseMs = Math.max(answer.retryAfterMs, FIRST_PAUSE_MS * 2 ** attempt * (0.5 + 0.5 * Math.random()));
      const isLast = attempt >= retries || Date.now() + pauseMs >= deadline;
      if (!TRIED_AGAIN.has(answer.status) || isLast) return read<T>(answer);
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  private async attempt(method: string, path: string, body: object | undefined, leftMs: number): Promise<Answer> {
    const headers: Record<string, string> = { Accept: "application/json" };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (this.options.key !== undefined) headers.Authorization = `Bearer ${this.options.key}`;
    const sent = body === undefined ? undefined : JSON.stringify(body);
    try {
      const signal = AbortSignal.timeout(Math.max(leftMs, 1));
      const response = await fetch(this.url.replace(/\/$/, "") + path, { method, headers, body: sent, signal });
      const retryAfterMs = 1000 * (Number(response.headers.get("retry-after")) || 0);
      return { status: response.status, text: await response.text(), retryAfterMs };
    } catch (error) {
      return { status: 0, text: String(error), retryAfterMs: 0 };
    }
  }
}

interface Answer {
  status: number;
  text: string;
  retryAfterMs: number;
}

function read<T>(answer: Answer): T {
  if (answer.status === 0) throw new ProblemError(0, "No answer", answer.text);
  let content;
  try {
    content = JSON.parse(answer.text);
  } catch {
    // A proxy without a replica answers with a line of plain text.
    throw new ProblemError(answer.status, "Not an answer of the service", answer.text.slice(0, 200).trim());
  }
  if (answer.status < 400) return content;
  throw new ProblemError(answer.status, content.title, content.detail, content.errors, content.request_id);
}
