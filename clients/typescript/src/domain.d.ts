// The OpenAPI document of a domain, as openapi-typescript writes it, as a description for `Quipu<D>`.

/**
 * The domain that `GET /v1/domain/openapi.json` describes: `Quipu<DomainOf<paths, components>>`, with
 * the two types that openapi-typescript generates from it. Commands, codes of rejections and documents
 * are checked. What has no JSON Schema is `any`. Events and states are not in the document's paths:
 * add them as in `DomainOf<paths, components> & { states: { account: { balance: number } } }`.
 */
export type DomainOf<Paths, Components> = {
  commands: {
    [C in CategoryIn<keyof Paths>]: {
      [P in keyof Paths as P extends CommandPath<C, infer T> ? Decoded<T> : never]: CommandData<Paths[P]>;
    };
  };
  rejections: { [C in CategoryIn<keyof Paths>]: RejectionCodes<Components, C> };
  documents: {
    [P in keyof Paths as P extends DocumentPath<infer N> ? Decoded<N> : never]: DocumentData<Paths[P]>;
  };
};

type CommandPath<C extends string, T extends string> = `/v1/domain/${C}/{key}/${T}`;
type DocumentPath<N extends string> = `/v1/views/${N}/{key}`;
type CategoryIn<P> = P extends CommandPath<infer C, string> ? C : never;

type Json<T> = { content: { 'application/json': T } };
type Known<T> = unknown extends T ? any : T;
type CommandData<O> = O extends { post: { requestBody: Json<infer T> } } ? Known<T> : any;
type DocumentData<O> = O extends { get: { responses: { 200: Json<{ document: infer T }> } } } ? Known<T> : any;

/** The codes that the decider of a category declares; any text if it declares none. */
type RejectionCodes<Components, C extends string> = Components extends {
  schemas: { [N in `${Capitalized<C>}RejectionCode`]: infer Code };
}
  ? Code
  : string;

/** `loan_book` as `LoanBook`, as the document names the schemas of a category. */
type Capitalized<C extends string> = C extends `${infer Word}_${infer Rest}` ? `${Capitalize<Word>}${Capitalized<Rest>}` : Capitalize<C>;

/** A segment of a path without percent-encoding. Characters beyond ASCII stay encoded. */
type Decoded<T extends string> = T extends `${infer Head}%${infer High}${infer Low}${infer Tail}`
  ? `${Head}${`${High}${Low}` extends keyof Encoded ? Encoded[`${High}${Low}`] : `%${High}${Low}`}${Decoded<Tail>}`
  : T;

interface Encoded {
  '20': ' ';
  '21': '!';
  '22': '"';
  '23': '#';
  '24': '$';
  '25': '%';
  '26': '&';
  '27': "'";
  '28': '(';
  '29': ')';
  '2A': '*';
  '2B': '+';
  '2C': ',';
  '2F': '/';
  '3A': ':';
  '3B': ';';
  '3C': '<';
  '3D': '=';
  '3E': '>';
  '3F': '?';
  '40': '@';
  '5B': '[';
  '5C': '\\';
  '5D': ']';
  '5E': '^';
  '60': '`';
  '7B': '{';
  '7C': '|';
  '7D': '}';
}
