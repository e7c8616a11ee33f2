// Types of the SDK, written by hand. `tests/types` checks them.

declare const typed: unique symbol;
declare const optional: unique symbol;

type Flat<T> = { [K in keyof T]: T[K] } & {};
type Empty = Record<string, never>;

/** A JSON Schema that describes a `T`. */
export interface Schema<T = any> {
  readonly [typed]?: () => T;
  readonly [keyword: string]: unknown;
}

/** A member that may be missing. */
export interface OptionalSchema<T = any> extends Schema<T> {
  readonly [optional]: true;
}

/** The type that a schema describes. */
export type Infer<S> = S extends Schema<infer T> ? T : unknown;

type Members = { readonly [name: string]: Schema };
type OptionalNames<M> = { [K in keyof M]: M[K] extends OptionalSchema ? K : never }[keyof M];
type ObjectOf<M> = Flat<
  { [K in Exclude<keyof M, OptionalNames<M>>]: Infer<M[K]> } & { [K in OptionalNames<M>]?: Infer<M[K]> }
>;

interface Described {
  title?: string;
  description?: string;
}
interface StringBounds extends Described {
  minLength?: number;
  maxLength?: number;
  /** A regular expression that the text has to contain a match of. */
  pattern?: string;
  format?: string;
}
interface NumberBounds extends Described {
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
}
interface ArrayBounds extends Described {
  minItems?: number;
  maxItems?: number;
}
interface ObjectBounds extends Described {
  /** False: members without a schema do not fit. True: they are kept. Not given: they are dropped. */
  additionalProperties?: boolean;
}
interface RecordBounds extends Described {
  minProperties?: number;
  maxProperties?: number;
}

/** Builds JSON Schemas whose types are known. */
export declare const s: {
  string(bounds?: StringBounds): Schema<string>;
  /** A whole number from -(2^53 - 1) to 2^53 - 1. */
  integer(bounds?: NumberBounds): Schema<number>;
  number(bounds?: NumberBounds): Schema<number>;
  boolean(): Schema<boolean>;
  any(): Schema<any>;
  literal<const T extends string | number | boolean | null>(value: T): Schema<T>;
  oneOf<const T extends readonly (string | number | boolean | null)[]>(...values: T): Schema<T[number]>;
  array<T>(items: Schema<T>, bounds?: ArrayBounds): Schema<T[]>;
  object<const M extends Members>(members: M, bounds?: ObjectBounds): Schema<ObjectOf<M>>;
  record<T>(values: Schema<T>, bounds?: RecordBounds): Schema<{ [name: string]: T }>;
  nullable<T>(schema: Schema<T>): Schema<T | null>;
  union<const S extends readonly Schema[]>(...schemas: S): Schema<Infer<S[number]>>;
  optional<T>(schema: Schema<T>): OptionalSchema<T>;
};

export interface MessageOptions<D = any> {
  /** Schema version of the body, from 1 (the default). A source of a projection may name 0. */
  version?: number;
  /** Older names. */
  aliases?: readonly string[];
  /** The oldest schema version whose bodies have the current form. */
  unchangedSince?: number;
  description?: string;
  /** Reads data in place of the schema; what it throws says why the data does not fit. */
  parse?: (data: unknown) => D;
}

/** A type of command or event whose data is a `D`. */
export interface Message<D = any> {
  readonly [typed]?: () => D;
}

export type Messages = { readonly [type: string]: Message };

/** Declares a type of message without content. */
export declare function message(members?: {}, options?: MessageOptions<Empty>): Message<Empty>;
/** Declares a type of message by the members of its data. */
export declare function message<const M extends Members>(
  members: M,
  options?: MessageOptions<ObjectOf<M>>,
): Message<ObjectOf<M>>;
/** Declares a type of message by a JSON Schema of your own. */
export declare function messageOf<D = any>(schema?: Schema<D> | object, options?: MessageOptions<D>): Message<D>;

/** The messages of such declarations, as a union that `type` discriminates. */
export type MessagesOf<M extends Messages> = {
  [K in keyof M & string]: M[K] extends Message<infer D> ? { readonly type: K; readonly data: D } : never;
}[keyof M & string];

interface Labels {
  /** Labels `name:value`, at most 64 of 255 bytes. */
  readonly tags?: readonly string[];
  /** Added to the metadata of the command; names are not in `quipu.`. */
  readonly annotations?: Readonly<Record<string, string>>;
}
type Data<D> = [D] extends [Empty] ? { readonly data?: Empty } : { readonly data: D };

/** The events that a decision may return. */
export type NewEvents<E extends Messages> = {
  [K in keyof E & string]: E[K] extends Message<infer D> ? Flat<{ readonly type: K } & Data<D> & Labels> : never;
}[keyof E & string];

/** The commands that callers send: data without content may be left out. */
export type Commands<C extends Messages> = {
  [K in keyof C & string]: C[K] extends Message<infer D> ? Flat<{ readonly type: K } & Data<D>> : never;
}[keyof C & string];

/** The domain said no. An answer for the caller; nothing is stored. */
export declare class Rejection extends Error {
  constructor(code: string, message: string, details?: unknown);
  readonly code: string;
  readonly details: unknown;
}

/** Returns a rejection, to be returned or thrown by `decide`. */
export declare function rejection(code: string, message: string, details?: unknown): Rejection;

/** A definition that a host would refuse at upload. */
export declare class DefinitionError extends Error {}

/** What a decision may depend on in addition to state and command. Equal on every attempt. */
export interface Context {
  /** The stream's id without its category. */
  readonly key: string;
  /** The idempotency key. */
  readonly commandId: string;
  /** When the host accepted the request. */
  readonly acceptedAt: Date;
  /** The same in microseconds since 1970 UTC. */
  readonly acceptedAtMicros: number;
  /** The four words of the seed, each as the nearest double. */
  readonly seed: readonly number[];
  /** The members of the caller's metadata, and the host's in `quipu.`. */
  readonly annotations: Readonly<Record<string, string>>;
  annotation(name: string): string | undefined;
  /** Returns the next UUID (version 4) of the seed. */
  uuid(): string;
  /** Returns the next random number of the seed, from 0 to less than 1. */
  random(): number;
}

export interface Migration {
  from: number;
  to: number;
  migrate(old: any): unknown;
}

type One<T> = T | readonly T[];

export interface DeciderDefinition<C extends Messages, E extends Messages, S> {
  /** 1 to 64 of `a-z 0-9 _`, beginning with a letter. */
  category: string;
  /** Semantic version; without it that of package.json. */
  version?: string;
  commands: C;
  events: E;
  /** The state of a stream without events: plain JSON data. */
  initial: S | (() => S);
  /** Returns the state after an event. The state that it receives is frozen. */
  evolve(state: Readonly<NoInfer<S>>, event: MessagesOf<E>): NoInfer<S>;
  /** Returns the events that a command leads to, or a rejection. */
  decide(
    state: Readonly<NoInfer<S>>,
    command: MessagesOf<C>,
    ctx: Context,
  ): NewEvents<E> | readonly NewEvents<E>[] | Rejection;
  /** Returns the state for people and programs; null: not shown. The default is the state. */
  view?(state: Readonly<NoInfer<S>>): unknown;
  /** Version of the state's form, from 1 (the default). */
  stateSchemaVersion?: number;
  /** The form of the state. Checked when a snapshot is opened and after each event. */
  stateSchema?: Schema<NoInfer<S>>;
  /** Migrations of older snapshots, a chain without gaps. */
  migrations?: readonly Migration[];
  /** False: this decider has no snapshots. */
  snapshots?: boolean;
  upcasters?: One<Upcaster>;
  projections?: One<Projection<any, any>>;
  /** The codes with which it rejects, for tools and clients. */
  rejections?: readonly string[];
  /** For people and tools. */
  annotations?: Readonly<Record<string, string>>;
}

export interface Decider<C extends Messages, E extends Messages, S> {
  readonly category: string;
  readonly definition: DeciderDefinition<C, E, S>;
}

export declare function decider<const C extends Messages, const E extends Messages, S>(
  definition: DeciderDefinition<C, E, S>,
): Decider<C, E, S>;

export interface Step {
  readonly type: string;
  readonly version: number;
}

/** A step without its result. */
export interface Lift<T> {
  /** The event gets a later version of its type. */
  to(version: number, change?: (data: T) => unknown): Step;
  /** The event gets another type. */
  to(type: string, version: number, change?: (data: T) => unknown): Step;
  /** The event becomes the returned parts: none, one or several. */
  split<const P extends Readonly<Record<string, number>>>(
    to: P,
    parts: (data: T) => readonly { type: keyof P & string; version?: number; data?: unknown }[],
  ): Step;
  /** The event is dropped. */
  drop(): Step;
}

/** Begins a step that lifts one schema version of a type of event. */
export declare function lift<T = any>(type: string, version: number, options?: { schema?: Schema<T> }): Lift<T>;

export interface Upcaster {
  readonly category: string;
  readonly steps: readonly Step[];
}

export declare function upcaster(definition: { category: string; steps: readonly Step[] }): Upcaster;

/** A component that has only upcasters. */
export declare function upcasters(name: string, list: One<Upcaster>, options?: ComponentOptions): Guest;

export interface ComponentOptions {
  version?: string;
  annotations?: Readonly<Record<string, string>>;
}

export interface Guest {
  readonly name: string;
}

/** A source: every type of event of the category. */
export declare const every: Every;
interface Every {
  readonly every: true;
}

/** The place of an event in the log. */
export interface Place<C extends string> {
  readonly category: C;
  /** The stream's whole id. */
  readonly stream: string;
  /** The stream's id without its category. */
  readonly key: string;
  readonly schemaVersion: number;
  /** Place in its stream, from 1. */
  readonly version: number;
  /** Place in the log; 0 in `keys`. */
  readonly position: number;
  readonly recordedAt: Date;
  readonly recordedAtMicros: number;
  /** The number of the part of a split event, from 0. */
  readonly part: number;
  /** Empty unless the projection has `tags: true`. */
  readonly tags: readonly string[];
  /** Empty unless the projection has `annotations: true`. */
  readonly annotations: Readonly<Record<string, string>>;
}

export type Sources = { readonly [category: string]: Messages | Every };

type EventsOfSource<C extends string, M> = M extends Every
  ? Flat<Place<C extends '*' ? string : C> & { readonly type: string; readonly data: any }>
  : { [K in keyof M & string]: M[K] extends Message<infer D> ? Flat<Place<C> & { readonly type: K; readonly data: D }> : never }[keyof M & string];

/** The events that a projection reads, as a union that `category` and `type` discriminate. */
export type RecordedOf<So extends Sources> = { [C in keyof So & string]: EventsOfSource<C, So[C]> }[keyof So & string];

export interface Index {
  readonly kind: 'text' | 'integer' | 'number' | 'boolean';
  readonly pointer: string;
}

/** Declares an index by a JSON pointer into the document. */
export declare const index: {
  text(pointer: string): Index;
  integer(pointer: string): Index;
  number(pointer: string): Index;
  boolean(pointer: string): Index;
};

export interface ProjectionDefinition<So extends Sources, D> {
  /** 1 to 48 of `a-z 0-9 _ -`, beginning with a letter; unique in the store. */
  name: string;
  /** Raise it whenever the documents should change. From 1 (the default). */
  version?: number;
  /** The types that it reads of each category. `"*"`: of every category. */
  sources: So;
  /** Whether it reads the tags of events. */
  tags?: boolean;
  /** Whether it reads the metadata of events. */
  annotations?: boolean;
  indexes?: { readonly [name: string]: Index };
  /** The form of the documents. Clients get their type from it, and `apply` has to return what fits. */
  document?: Schema<D>;
  /** Returns the keys of the documents that the event concerns. */
  keys(event: RecordedOf<So>): string | readonly string[] | null | undefined;
  /** Returns the document after the event; null or undefined: there is none, or no longer. */
  apply(document: D | null, event: RecordedOf<So>, key: string): D | null | undefined;
}

export interface Projection<So extends Sources, D> {
  readonly name: string;
  readonly definition: ProjectionDefinition<So, D>;
}

export declare function projection<const So extends Sources, D>(
  definition: ProjectionDefinition<So, D>,
): Projection<So, D>;

/** A component that has only projections. */
export declare function projections(
  name: string,
  list: One<Projection<any, any>>,
  options?: ComponentOptions,
): Guest;

/** Writes a line to the log of the host; natively to stderr. */
export declare const log: {
  trace(text: string): void;
  debug(text: string): void;
  info(text: string): void;
  warn(text: string): void;
  error(text: string): void;
};

/** Returns the length of a text in UTF-8, in bytes. */
export declare function byteLength(text: string): number;
