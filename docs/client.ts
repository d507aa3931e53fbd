// The service from a storefront written in TypeScript. Copy this file: it needs nothing but `fetch` (Node 18 or newer).
// Call it from the shop's server: in a browser everybody could read the key. docs/client.md shows how.

export type EventType = "impression" | "view" | "click" | "cart" | "purchase" | "rating" | "return" | "search";
export type Scalar = string | number | boolean;

/** An item, a text (query or page), or both. */
export interface SessionEvent {
  item_id?: string;
  text?: string;
  event_type?: EventType;
  timestamp?: string | Date;
  value?: number;
}

/** Both ends are included. */
export interface PriceRange {
  min?: number;
  max?: number;
}

/** Conditions that must all hold. */
export interface ItemFilter {
  and?: ItemFilter[];
  or?: ItemFilter[];
  not?: ItemFilter;
  category?: string | string[];
  brand?: string | string[];
  price?: PriceRange;
  available?: boolean;
  attributes?: Record<string, Scalar | Scalar[]>;
  updated_after?: string | Date;
}

export interface BoostRule {
  filter: ItemFilter;
  factor?: number;
}

export interface BuryRule {
  filter: ItemFilter;
  factor?: number;
}

export interface PinRule {
  item_id: string;
  position: number;
}

/** A list: at least one of user_id, session, item_ids and text. */
export interface ListRequest {
  user_id?: string;
  session?: SessionEvent[];
  item_ids?: string[];
  text?: string;
  count?: number;
  exclude_ids?: string[];
  scenario?: "home" | "product" | "cart" | "search" | "email";
  filter?: ItemFilter;
  boosts?: BoostRule[];
  bury?: BuryRule[];
  pins?: PinRule[];
  diversity?: number;
  max_per_category?: number;
  max_per_brand?: number;
  collapse_variants?: boolean;
  new_items?: number;
  return_properties?: boolean;
  explain?: boolean;
}

/** A list for words that a shopper has typed. */
export interface SearchRequest extends ListRequest {
  text: string;
}

export interface SimilarRequest {
  item_id: string;
  count?: number;
  exclude_ids?: string[];
  return_properties?: boolean;
}

export interface ComplementsRequest {
  item_ids: string[];
  count?: number;
  exclude_ids?: string[];
  filter?: ItemFilter;
  return_properties?: boolean;
}

export interface PopularRequest {
  category?: string;
  count?: number;
  window?: "lately" | "ever";
  return_properties?: boolean;
}

/** One thing a shopper did. Without an event_id the client gives it one. */
export interface ShopEvent {
  event_id?: string;
  user_id: string;
  item_id?: string;
  event_type: EventType;
  timestamp?: string | Date;
  session_id?: string;
  text?: string;
  value?: number;
  recommendation_id?: string;
  position?: number;
}

/** What is new of a product; what is left out stays as it is. */
export interface ItemFields {
  title?: string;
  description?: string;
  category?: string;
  brand?: string;
  price?: number;
  available?: boolean;
  attributes?: Record<string, unknown>;
}

export interface ShopItem extends ItemFields {
  item_id: string;
}

export interface ItemProperties {
  title: string | null;
  category: string | null;
  brand: string | null;
  price: number | null;
  available: boolean;
  updated_at: string | null;
  attributes: Record<string, unknown> | null;
  rating: number | null;
  n_reviews: number;
}

export interface Reason {
  kind: string;
  text: string;
  item_id: string | null;
}

export interface Evidence {
  text: string;
  review_id: string;
  stars: number;
  matched_on: string;
}

export interface SlateItem {
  item_id: string;
  score: number;
  rank: number;
  source: string;
  title: string | null;
  properties?: ItemProperties;
  reason?: Reason;
  scores?: Record<string, number>;
  evidence?: Evidence | null;
}

/** The list, best first. `fallback` is null, or a word on why it is not personal. */
export interface SlateResponse {
  recommendation_id: string;
  items: SlateItem[];
  fallback: string | null;
  n_matched?: number;
  release_id: string;
  experiment?: string | null;
  arm?: string | null;
  took_ms: number;
}

/** A list made again from its release; `reproduced` says whether it holds `served_item_ids`, the items served. */
export interface ExplainResponse {
  recommendation_id: string;
  asked_at: string;
  user_id: string | null;
  release_id: string;
  reproduced: boolean;
  served_item_ids: string[];
  items: SlateItem[];
  fallback: string | null;
  experiment?: string | null;
  arm?: string | null;
  took_ms: number;
}

/** As a share of the first arm's figure, with the ends of the 95 % interval. */
export interface LiftInterval {
  lift: number;
  low: number;
  high: number;
}

/** What the shoppers of an arm did after their first list; the lifts are null where there is nothing to tell. */
export interface ExperimentArm {
  arm: string;
  weight: number;
  n_users: number;
  n_exposures: number;
  n_converted: number;
  n_outcomes: number;
  rate: number;
  outcomes_per_user: number;
  rate_lift: LiftInterval | null;
  outcomes_lift: LiftInterval | null;
}

/** Where it is not to be trusted, no lift is. */
export interface SampleRatio {
  chi_square: number;
  p_value: number;
  is_trusted: boolean;
}

/** The first arm is what the others are compared with. */
export interface ExperimentResult {
  name: string;
  share: number;
  since: string | null;
  arms: ExperimentArm[];
  sample_ratio: SampleRatio;
  n_switched: number;
  n_other: number;
}

/** The experiments of the service's settings, as they stood at `as_of`. */
export interface ExperimentsResponse {
  metric: string;
  as_of: string;
  experiments: ExperimentResult[];
}

/** A product, and the sentences of its reviews that may be quoted. */
export interface ItemDetail {
  item_id: string;
  properties: ItemProperties;
  quotes: Evidence[];
  release_id: string;
}

/** `path` is what filters take; all below it counts. */
export interface Category {
  path: string;
  name: string;
  depth: number;
  n_items: number;
}

export interface Categories {
  categories: Category[];
  release_id: string;
}

export interface ShopperItem {
  item_id: string;
  title: string | null;
  category: string | null;
  event_type: string;
}

export interface Shopper {
  user_id: string;
  n_items: number;
  recent: ShopperItem[];
}

export interface Shoppers {
  shoppers: Shopper[];
  n_shoppers: number;
  release_id: string;
}

export interface ErasureResponse {
  request_id: string;
  requested_at: string;
}

/** An item by its id and title. */
export interface FoundItem {
  item_id: string;
  title: string | null;
  category: string | null;
}

/** Items with the id or the words, the best match first; shoppers with the id or its beginning. Where there is neither, the nearest ids of both kinds. */
export interface FindResponse {
  items: FoundItem[];
  user_ids: string[];
  nearest_item_ids: string[];
  nearest_user_ids: string[];
  release_id: string;
}

/** `similarity` is the cosine of the two vectors; `also_in` names the other spaces whose list has it. */
export interface Neighbour {
  item_id: string;
  title: string | null;
  category: string | null;
  similarity: number;
  also_in: string[];
}

/** The nearest items in one space, none where the item has no vector in it. text: what is said of the items; cf: who dealt with them; fused: both in one, what lists are found by. */
export interface SpaceNeighbours {
  space: "text" | "cf" | "fused";
  has_vector: boolean;
  neighbours: Neighbour[];
}

/** The share of the nearest items in one space that are among those in the other. */
export interface SpaceAgreement {
  space: string;
  other_space: string;
  share: number;
}

/** An item as the lists know it. `n_shoppers` counts who dealt with it before the release. */
export interface InspectedItem {
  item_id: string;
  properties: ItemProperties;
  quotes: Evidence[];
  n_shoppers: number;
  spaces: SpaceNeighbours[];
  agreement: SpaceAgreement[];
  release_id: string;
}

/** One thing that the shopper did. The words of what was searched for and read are in no release; those since are told. `weight` is null for what happened `since_release`. */
export interface HistoryEntry {
  timestamp: string;
  event_type: string;
  item_id: string | null;
  title: string | null;
  category: string | null;
  text: string | null;
  weight: number | null;
  since_release: boolean;
}

/** A feature of a place of the list; `contribution` is its SHAP value in the ranker's score. */
export interface RankerFeature {
  feature: string;
  value: number;
  contribution: number;
}

/** A shopper's history, newest first, `n_history` entries in all, and the list that they would be given now, no experiment counted. `ranker` has the features that count most for each of `items`; empty where the weighted sum of the sources ranked alone. */
export interface InspectedShopper {
  user_id: string;
  n_history: number;
  history: HistoryEntry[];
  items: SlateItem[];
  is_ranked: boolean;
  ranker: RankerFeature[][];
  fallback: string | null;
  release_id: string;
}

/** A group of items and its colour, #rrggbb. */
export interface MapGroup {
  name: string;
  colour: string;
}

/** What items may be coloured by. `codes` has a position in `groups` for each item of the map, -1 for none. */
export interface MapGrouping {
  by: string;
  groups: MapGroup[];
  codes: number[];
}

/** Every item that has a vector, on a plane where what is alike in text and behaviour lies together. `layout` is "t-SNE" where `recsys releases atlas` has laid the release out, else "PCA". `x` and `y` go from 0 to 65535. */
export interface ItemMap {
  layout: "t-SNE" | "PCA";
  item_ids: string[];
  titles: string[];
  x: number[];
  y: number[];
  groupings: MapGrouping[];
  release_id: string;
}

export interface FieldProblem {
  field: string;
  message: string;
}

export interface EntryProblem extends FieldProblem {
  index: number;
}

export interface EventsResponse {
  accepted: number;
  event_ids: (string | null)[];
  errors: EntryProblem[];
}

export interface BatchProblem {
  status: number;
  detail: string;
  errors?: FieldProblem[];
}

export interface BatchResult {
  slate: SlateResponse | null;
  problem: BatchProblem | null;
}

export interface BatchResponse {
  results: BatchResult[];
  n_failed: number;
  took_ms: number;
}

export interface ItemResponse {
  item_id: string;
  version: number;
}

export interface ItemsResponse {
  accepted: number;
  item_ids: (string | null)[];
  errors: EntryProblem[];
  version: number;
}

export interface ReleaseResponse {
  release_id: string;
  as_of: string;
  rows: Record<string, number>;
  metrics: Record<string, unknown>;
  encoder_id: string;
}

/** The service refused, or did not answer (status 0). */
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
  /** How long a shopper waits for a list at most, retries included. */
  listTimeoutMs?: number;
  /** The same of batches, events and products, for which nobody waits. */
  bulkTimeoutMs?: number;
  retries?: number;
}

const TRIED_AGAIN = new Set([0, 429, 502, 503, 504]);
const FIRST_PAUSE_MS = 100;

/** A method for each route. With `fallback`, ids of the shop's own, a list is never refused: it is those instead. */
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
    const asked = new URLSearchParams(Object.entries(request).map(([name, value]) => [name, String(value)]));
    return this.list("GET", `/v1/popular?${asked}`, undefined, fallback);
  }

  recommendBatch(requests: ListRequest[]): Promise<BatchResponse> {
    return this.bulk("POST", "/v1/recommend:batch", { requests });
  }

  /** Each event gets an id before it is first sent, so that it counts once however often it is. */
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

  /** A few known shoppers to try lists with; needs the scope `admin`. */
  shoppers(count = 8): Promise<Shoppers> {
    return this.bulk("GET", `/v1/shoppers?count=${count}`);
  }

  /** Use nothing of a shopper any more, and erase them with the next night; needs the scope `admin`. */
  eraseUser(userId: string): Promise<ErasureResponse> {
    return this.bulk("DELETE", `/v1/users/${encodeURIComponent(userId)}`);
  }

  /** Products and shoppers by id or words; as all `inspect…`, it needs the scope `admin`. */
  inspectFind(words: string, count = 8): Promise<FindResponse> {
    return this.bulk("GET", `/v1/inspect/find?${new URLSearchParams({ words, count: String(count) })}`);
  }

  /** A product among its neighbours in each space. */
  inspectItem(itemId: string): Promise<InspectedItem> {
    return this.bulk("GET", `/v1/inspect/items/${encodeURIComponent(itemId)}`);
  }

  /** A shopper's history, and why their list is as it is; the list is not recorded. */
  inspectShopper(userId: string, count = 10): Promise<InspectedShopper> {
    return this.bulk("GET", `/v1/inspect/shoppers/${encodeURIComponent(userId)}?count=${count}`);
  }

  /** Where every product lies among the others. */
  inspectMap(): Promise<ItemMap> {
    return this.bulk("GET", "/v1/inspect/map");
  }

  /** Why a list was as it was. */
  explain(recommendationId: string): Promise<ExplainResponse> {
    return this.bulk("GET", `/v1/explain/${encodeURIComponent(recommendationId)}`);
  }

  /** What has come of the experiments. */
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
      console.warn(`list not answered, fallback shown: ${problem.message}`);
      const plain = { score: 0, source: "unavailable", title: null };
      const items = fallback.map((item_id, place) => ({ item_id, rank: place + 1, ...plain }));
      return { recommendation_id: "", items, fallback: "unavailable", release_id: "", took_ms: 0 };
    }
  }

  private bulk<T>(method: string, path: string, body?: object): Promise<T> {
    return this.call<T>(method, path, body, this.options.bulkTimeoutMs ?? 60_000);
  }

  /** Everything that the service takes may be sent twice, so what may pass is tried again, after pauses that double. */
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
    // A proxy has a line of plain text where there is nobody behind it.
    throw new ProblemError(answer.status, "Not an answer of the service", answer.text.slice(0, 200).trim());
  }
  if (answer.status < 400) return content;
  throw new ProblemError(answer.status, content.title, content.detail, content.errors, content.request_id);
}
