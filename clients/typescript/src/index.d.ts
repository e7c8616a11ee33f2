// Types of the client, written by hand. `tests/types` checks them.

export type { DomainOf } from './domain.js';

/**
 * What a host decides and projects, for types. Each member is optional; what is left out is not
 * checked.
 */
export interface Domain {
  /** The data of each type of command, by category. */
  commands?: { [category: string]: { [type: string]: unknown } };
  /** The data of each type of event, by category. */
  events?: { [category: string]: { [type: string]: unknown } };
  /** The state that a decider shows, by category. */
  states?: { [category: string]: unknown };
  /** The codes with which a decider rejects, by category. */
  rejections?: { [category: string]: string };
  /** The documents of each projection. */
  documents?: { [projection: string]: unknown };
}

/** A client without types for its domain. */
export interface Untyped {}

type AnyMessages = { [category: string]: { [type: string]: any } };
type Commands<D> = D extends { commands: infer C } ? C : AnyMessages;
type Events<D> = D extends { events: infer E } ? E : AnyMessages;
type States<D> = D extends { states: infer S } ? S : {};
type StateOf<D, S extends string> = CategoryOf<S> extends keyof States<D> ? States<D>[CategoryOf<S>] : any;
type Rejections<D> = D extends { rejections: infer R } ? R : {};
type Documents<D> = D extends { documents: infer P } ? P : { [projection: string]: any };
type ProjectionOf<D> = keyof Documents<D> & string;

/** The category of a stream: the part before the first `-`. */
export type CategoryOf<S extends string> = S extends `${infer C}-${string}` ? C : S;

/** Streams that a command can be sent to. */
export type CommandStream<D> = string extends keyof Commands<D> ? string : `${keyof Commands<D> & string}-${string}`;

type Data<T> = [T] extends [Record<string, never>] ? { data?: T } : { data: T };
type Bytes = { data?: undefined; /** Bytes that are not JSON. */ dataBase64: string; contentType?: string };

/** The codes with which commands of a category are rejected. */
export type RejectionCode<D, C> = C extends keyof Rejections<D> ? Rejections<D>[C] : string;

/** Why the domain said no. */
export interface Rejection<Code = string> {
  code: Code;
  message: string;
  details?: any;
}

interface Form {
  /** The schema version of the data; by default the decider's current one, for an event 1. */
  schemaVersion?: number;
}

/** A command for a stream of the category. */
export type Command<D = Untyped, C = string> = C extends keyof Commands<D>
  ? { [T in keyof Commands<D>[C] & string]: Form & { type: T } & (Data<Commands<D>[C][T]> | Bytes) }[keyof Commands<D>[C] & string]
  : never;

interface NewEventForm extends Form {
  /** A UUID. The same events with the same ids are appended once. */
  id?: string;
  metadata?: Record<string, unknown>;
  /** `name:value` labels. */
  tags?: string[];
}

/** An event to append to a stream of the category. */
export type NewEvent<D = Untyped, C = string> = C extends keyof Events<D>
  ? { [T in keyof Events<D>[C] & string]: NewEventForm & { type: T } & (Data<Events<D>[C][T]> | Bytes) }[keyof Events<D>[C] & string]
  : NewEventForm & { type: string } & ({ data?: unknown } | Bytes);

/** The cause of an event. */
export interface Commit {
  commandId: string | null;
  /** Digest of the module that decided; null for a direct append. */
  module: string | null;
  plan: number;
  /** Fuel that the decision used; null for a direct append. */
  fuel: number | null;
  correlationId: string | null;
  causationId: string | null;
  principal: string | null;
  traceparent: string | null;
}

/** An event of the log. */
export interface RecordedEvent<T extends string = string, D = any> {
  id: string;
  stream: string;
  /** From 1. */
  version: number;
  /** From 1. */
  position: number;
  type: T;
  schemaVersion: number;
  data: D;
  /** Bytes that are not JSON, in place of `data`. */
  dataBase64?: string;
  contentType?: string;
  metadata: Record<string, any>;
  tags: string[];
  /** RFC 3339, UTC, with microseconds. */
  recordedAt: string;
  commit: Commit;
  /** The index of this part of an event that an upcaster split. */
  part?: number;
  /** The stored form, if it differs. */
  storedAs?: { type: string; schemaVersion: number };
}

type AllEvents<D> = { [C in keyof Events<D> & string]: EventOf<D, C> }[keyof Events<D> & string];

/** The events of a category, as a union that `type` discriminates. */
export type EventOf<D, C> = C extends keyof Events<D>
  ? { [T in keyof Events<D>[C] & string]: RecordedEvent<T, Events<D>[C][T]> }[keyof Events<D>[C] & string]
  : RecordedEvent;

/** The outcome of a command or an append. */
export interface AppendOutcome {
  stream: string;
  /** The version of the stream afterwards. */
  version: number;
  /** The position of the last event; null without events. Pass it as `after` to read documents. */
  position: number | null;
  events: { id: string; version: number; position: number }[];
  /** Whether this created the stream. */
  created: boolean;
  /** Whether this is the recorded outcome of an earlier request with the same id. */
  replayed: boolean;
}

/** The outcome of a command. */
export interface Outcome<E = { type: string; data: any }> extends Omit<AppendOutcome, 'events'> {
  events: (E & { id: string; version: number; position: number })[];
  /** Digest of the module that decided. */
  module: string | null;
  fuel: number | null;
}

/** What a command would lead to now. Nothing is stored. */
export interface Preview<E = { type: string; data: any }, S = any> {
  stream: string;
  /** The version of the stream on whose state it was decided; 0 before the first event. */
  version: number;
  /** The command's type and schema version, as the decider saw them. */
  command: string;
  schemaVersion: number;
  /** Digest of the module that decided. */
  module: string;
  plan: number;
  fuel: number;
  /** The events that the command would add. */
  events: (E & { schemaVersion: number })[];
  /** The state before the events; null if the decider does not show it. */
  stateBefore: S | null;
  /** The state after the events; null if the decider does not show it. */
  stateAfter: S | null;
}

type DecidedEvent<E> = E extends { type: infer T; data: infer D } ? { type: T; data: D; dataBase64?: string; contentType?: string } : never;

/** A version, or what else the stream has to be. A version 0 and `no-stream` are the same. */
export type ExpectedVersion = number | 'any' | 'no-stream' | 'stream-exists';

interface Cancel {
  /** Ends the call: it rejects with the reason of the signal. */
  signal?: AbortSignal;
}

interface WriteOptions extends Cancel {
  /**
   * The id of the command or append, 1 to 255 printable ASCII characters. The same id gets the first
   * outcome. Only a request with an id is retried.
   */
  id?: string;
  /** By default the id. */
  correlationId?: string;
  causationId?: string;
  /** W3C trace context. */
  traceparent?: string;
}

export interface ExecuteOptions extends WriteOptions {
  expectedVersion?: ExpectedVersion;
  metadata?: Record<string, unknown>;
}

export interface PreviewOptions extends Omit<ExecuteOptions, 'id'> {}

export interface AppendOptions extends WriteOptions {
  expectedVersion?: ExpectedVersion;
  /** Append although a decider serves the category. */
  raw?: boolean;
}

export interface AppendPart<D = Untyped> {
  stream: string;
  /** `any` by default. */
  expectedVersion?: ExpectedVersion;
  /** Without events the stream is only checked. */
  events?: NewEvent[];
}

export interface PageOptions extends Cancel {
  /** At most this many stored events. By default all. */
  limit?: number;
  direction?: 'forward' | 'backward';
  /** `lifted` by default. */
  form?: 'lifted' | 'stored';
}

interface PageSize {
  /** Items in one request: 1 to 1000, by default 100. */
  pageSize?: number;
}

export interface StreamRange extends PageOptions {
  /** The first version; by default the oldest, backward the newest. */
  from?: number;
  /** The last version, in either direction. */
  to?: number;
}

export interface Filter {
  category?: string | string[];
  type?: string | string[];
  tag?: string | string[];
  /** Only streams whose id begins with it. */
  prefix?: string;
  notCategory?: string | string[];
  notType?: string | string[];
  notTag?: string | string[];
  notPrefix?: string | string[];
}

export interface LogRange extends PageOptions, Filter {
  /** Events after this position, backward before it. */
  after?: number;
  to?: number;
  /** Events of archived streams: by default `without` when categories are given, otherwise `with`. */
  archived?: 'without' | 'with';
}

export interface StreamPage<E = RecordedEvent> {
  stream: string;
  version: number;
  truncatedBefore?: number;
  events: E[];
  /** `from` of the next page; null at the end. */
  next: number | null;
}

export interface LogPage<E = RecordedEvent> {
  events: E[];
  /** `after` of the next page; null at the end. */
  next: number | null;
  /** The position of the last event of the log. */
  head: number;
}

export interface StreamState<S = any> {
  stream: string;
  version: number;
  state: S;
  /** Digest of the module that rendered the state. */
  module: string;
}

export interface StateOptions extends Cancel {
  atVersion?: number;
  atTime?: string | Date;
  /** As the module with this digest renders it. */
  module?: string;
}

export interface Freshness extends Cancel {
  /** Everything up to this position has to be in the documents. */
  after?: number;
  /** How long the host waits for `after`, in ms: 0 to 30,000, by default 5,000. */
  timeout?: number;
}

export interface Document<T = any> {
  key: string;
  document: T;
  change: number;
  /** Everything up to this position is in it. */
  position: number;
  stale?: boolean;
  parked?: unknown;
}

export type Operand = string | number | bigint | boolean;

/** Conditions on indexes: documents match all of them. */
export interface Where {
  [index: string]: Operand | { eq?: Operand; lt?: Operand; lte?: Operand; gt?: Operand; gte?: Operand };
}

export interface DocumentsOptions extends Freshness, PageSize {
  where?: Where;
  /** An index, with `-` before it from the greatest value down, or `$key`. */
  order?: string;
  limit?: number;
}

interface Reconnecting extends Cancel {
  /** How long failures in a row may last before the last one is final, in ms: by default 300,000. `Infinity`: for ever. */
  reconnectMsMax?: number;
  /** Called before each reconnect, with the number of failures in a row. */
  onReconnect?: (error: QuipuError, failures: number) => void;
}

export interface SubscriptionOptions extends Reconnecting {
  /** `lifted` by default. */
  form?: 'lifted' | 'stored';
  /** A connection without even a heartbeat for this long is given up, in ms: by default 45,000. */
  silenceMs?: number;
  /** Called at the end of the catch-up, with the checkpoint. It may come a second time. */
  onCaughtUp?: (checkpoint: number) => void;
}

export interface SubscribeOptions extends SubscriptionOptions, Filter {
  /** Events after this position, 0 by default, or `now`. */
  after?: number | 'now';
}

export interface SubscribeStreamOptions extends SubscriptionOptions {
  /** The first version, 1 by default, or `now`. */
  from?: number | 'now';
}

/** Events in order, each once. A second loop continues after the last event that was delivered. */
export interface Subscription<E = RecordedEvent> extends AsyncIterable<E> {
  /** The position, in a stream the version, up to which everything was delivered or is left out by the filter. */
  readonly checkpoint: number | undefined;
  [Symbol.asyncIterator](): AsyncGenerator<E, void, undefined>;
}

export interface Delivery {
  /** The token of the claim. It rises with each claim: pass it on to recognize a late owner. */
  token: number;
  /** Aborted when the name is lost or the consumer ends. */
  signal: AbortSignal;
  /** From 1; more after `retry`. */
  attempt: number;
}

export interface ConsumeOptions extends Reconnecting, Filter {
  /** Where a new name begins: after a position, 0 by default, or `now`. */
  after?: number | 'now';
  form?: 'lifted' | 'stored';
  /** How long the claim lasts without a call, in ms: 1,000 to 3,600,000, by default 15,000. */
  leaseMs?: number;
  /** How long the host waits for new events, in ms: at most half of the lease. */
  waitMs?: number;
  /** Events in one request: 1 to 1000, by default 100. */
  batchSize?: number;
  /**
   * Decides what happens when the handler fails: `retry` the event after a pause, `skip` it, or
   * `stop`, the default: what was handled is acknowledged, and `consume` rejects with the error.
   */
  onError?: (error: unknown, event: RecordedEvent, attempt: number) => Decision | Promise<Decision>;
}

export type Decision = 'retry' | 'skip' | 'stop';

export interface Retry {
  /** Requests in all: 1 or more, 5 by default. */
  attemptsMax?: number;
  /** The longest first pause, in ms: 100 by default. It doubles, and is random. */
  delayMs?: number;
  /** 5,000 by default. */
  delayMsMax?: number;
  /** No retry begins later than this after the first request, in ms: 30,000 by default. */
  totalMsMax?: number;
}

export interface QuipuOptions {
  /** The address of the host, for example `http://127.0.0.1:7878`. */
  url: string | URL;
  /** Sent as a bearer token. */
  token?: string;
  /** In place of the global `fetch`. */
  fetch?: typeof globalThis.fetch;
  /** The longest wait for an answer, in ms: 35,000 by default, because a host answers within 30 s. */
  timeout?: number;
  /** When requests are retried; `false`: never. */
  retry?: Retry | false;
  /** Sent with each request. */
  headers?: Record<string, string>;
  /** Reads JSON in place of `JSON.parse`, for example `parseExact`. */
  parse?: (text: string) => any;
  /** Writes JSON in place of `JSON.stringify`, for example `stringifyExact`. */
  stringify?: (value: any) => string;
  /** The largest answer, and the largest event of a subscription: 64 MiB by default. */
  answerBytesMax?: number;
}

/** A client of one host. It holds no connection of its own, so nothing has to be closed. */
export declare class Quipu<D = Untyped> {
  constructor(options: QuipuOptions);

  /** Executes a command. Throws a `RejectionError` when the domain rejects it. */
  execute<S extends CommandStream<D>>(
    stream: S,
    command: Command<D, CategoryOf<S>>,
    options?: ExecuteOptions,
  ): Promise<Outcome<DecidedEvent<EventOf<D, CategoryOf<S>>>>>;

  /** Decides a command on the state that the stream has now, and stores nothing. Throws what `execute` throws. */
  preview<S extends CommandStream<D>>(
    stream: S,
    command: Command<D, CategoryOf<S>>,
    options?: PreviewOptions,
  ): Promise<Preview<DecidedEvent<EventOf<D, CategoryOf<S>>>, StateOf<D, S>>>;

  /**
   * Returns the rejection of a `RejectionError`; undefined for any other error. The stream, to which the
   * command was sent, is only for the type of the code.
   */
  rejectionOf<S extends CommandStream<D>>(stream: S, error: unknown): Rejection<RejectionCode<D, CategoryOf<S>>> | undefined;

  /** Appends events that need no decision. */
  append<S extends string>(stream: S, events: NewEvent<D, CategoryOf<S>>[], options?: AppendOptions): Promise<AppendOutcome>;

  /** Appends to several streams, to all or to none. */
  appendAll(parts: AppendPart<D>[], options?: Omit<AppendOptions, 'expectedVersion'>): Promise<{ streams: AppendOutcome[]; replayed: boolean }>;

  /** Reads a stream, page by page. A stream that does not exist is the error `stream-not-found`. */
  readStream<S extends string>(stream: S, options?: StreamRange & PageSize): AsyncGenerator<EventOf<D, CategoryOf<S>>, void, undefined>;
  /** Reads one page of at most 1000 events, with the version of the stream. */
  readStreamPage<S extends string>(stream: S, options?: StreamRange): Promise<StreamPage<EventOf<D, CategoryOf<S>>>>;

  /** Reads the log, page by page. */
  readLog(options?: LogRange & PageSize): AsyncGenerator<AllEvents<D>, void, undefined>;
  /** Reads one page of at most 1000 events, with the head of the log. */
  readLogPage(options?: LogRange): Promise<LogPage<AllEvents<D>>>;

  /** Returns the state of a stream as its decider shows it: now, at a version or at a time. */
  state<S extends string>(stream: S, options?: StateOptions): Promise<StreamState<StateOf<D, S>>>;

  /** Returns a document; null if there is none. */
  document<P extends ProjectionOf<D>>(projection: P, key: string, options?: Freshness): Promise<Document<Documents<D>[P]> | null>;

  /** Reads documents by their indexes or by key, page by page. */
  documents<P extends ProjectionOf<D>>(
    projection: P,
    options?: DocumentsOptions,
  ): AsyncGenerator<Pick<Document<Documents<D>[P]>, 'key' | 'document' | 'change'>, void, undefined>;

  /** Subscribes to the log: stored events first, then new ones. */
  subscribe(options?: SubscribeOptions): Subscription<AllEvents<D>>;
  /** Subscribes to a stream, which need not exist yet. */
  subscribeStream<S extends string>(stream: S, options?: SubscribeStreamOptions): Subscription<EventOf<D, CategoryOf<S>>>;

  /**
   * Consumes a named subscription: each event at least once, in order, by one owner at a time. Ends
   * when the signal is aborted.
   */
  consume(name: string, handler: (event: AllEvents<D>, delivery: Delivery) => unknown, options?: ConsumeOptions): Promise<void>;
}

/** The members that every problem document has; others depend on the code. */
export interface Problem {
  code: string;
  status: number;
  title?: string;
  detail: string;
  [member: string]: any;
}

/** A request failed. Programs go by `code`. */
export declare class QuipuError extends Error {
  /**
   * A code of the host, or of the client: `unreachable`, `no-answer`, `invalid-answer`,
   * `answer-too-large`.
   */
  readonly code: string;
  /** The status of the answer; 0 without one. */
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  /** Seconds, from `Retry-After`. */
  readonly retryAfter: number | undefined;
  /** The whole problem document. */
  readonly problem: Problem;
}

/** The domain rejected the command. Nothing is stored. */
export declare class RejectionError extends QuipuError {
  readonly code: 'rejected';
  readonly rejection: Rejection;
}

/** Parses JSON. An integer that a number cannot hold exactly becomes a `BigInt`. */
export declare function parseExact(text: string): any;

/** Writes JSON. A `BigInt` becomes an integer with all of its digits. */
export declare function stringifyExact(value: any): string;
