/** Requests that follow the published document, that nearly do, and that do not at all. */
import fc from "fast-check";
import { texts, valuesOf, type JsonSchema, type JsonSchemas } from "./schema-arbitrary.ts";

export interface ApiDocument {
  readonly paths: Readonly<Record<string, Readonly<Record<string, ApiOperation>>>>;
  readonly components: { readonly schemas: JsonSchemas };
}
export interface ApiOperation {
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: JsonSchema }>> };
  readonly responses: Readonly<
    Record<string, { readonly content: Readonly<Record<string, { readonly schema: JsonSchema }>> }>
  >;
}

export interface FuzzRequest {
  readonly method: string;
  /** Begins with a slash. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array<ArrayBuffer>;
}

export interface FuzzSpace {
  readonly document: ApiDocument;
  readonly key: string;
  /** Model ids that are answered to. */
  readonly models: readonly string[];
  /** Stands in prompts: must never be logged. */
  readonly canary: string;
  /** Values of fields that every body shall have, for servers on which an answer takes time. */
  readonly always?: Readonly<Record<string, fc.Arbitrary<unknown>>>;
}

const PRINTABLE = "abcXYZ019 -_.,;=/<>(){}[]'\"@";
const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
const BODYLESS = ["GET", "HEAD", "OPTIONS"];

export function fuzzRequests(space: FuzzSpace): fc.Arbitrary<FuzzRequest> {
  const authorised = { authorization: `Bearer ${space.key}` };
  const json = { ...authorised, "content-type": "application/json" };
  const bodies = documentedBodies(space);
  const asJson = fc.constantFrom(...bodies).chain(({ path, values }) => values.map((value) => ({ path, value })));
  const documented = asJson.map(({ path, value }): FuzzRequest => ({
    method: "POST",
    path,
    headers: json,
    body: JSON.stringify(value),
  }));
  const mutated = fc
    .tuple(asJson, mutations)
    .map(([{ path, value }, mutate]): FuzzRequest => ({ method: "POST", path, headers: json, body: mutate(value) }));
  const raw = fc
    .record({ path: fc.constantFrom(...bodies.map(({ path }) => path)), body: rawBodies, headers: oddHeaders(json) })
    .map((request): FuzzRequest => ({ method: "POST", ...request }));
  const elsewhere = fc
    .record({
      method: fc.constantFrom(...METHODS),
      path: paths(Object.keys(space.document.paths), space.models),
      headers: oddHeaders(authorised),
      body: rawBodies,
    })
    .map(({ body, ...request }): FuzzRequest => (BODYLESS.includes(request.method) ? request : { ...request, body }));
  return fc.oneof(
    { weight: 9, arbitrary: documented },
    { weight: 7, arbitrary: mutated },
    { weight: 2, arbitrary: raw },
    { weight: 2, arbitrary: elsewhere },
  );
}

/** Bodies of every operation that takes one; nine in ten name a model that is there. */
function documentedBodies({ document, models, canary, always = {} }: FuzzSpace) {
  const withCanary = (derived: fc.Arbitrary<unknown>) =>
    fc.oneof({ weight: 5, arbitrary: derived }, fc.constant(canary));
  const named = {
    model: (derived: fc.Arbitrary<unknown>) => fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...models) }, derived),
    content: withCanary,
    prompt: withCanary,
    text: withCanary,
  };
  return Object.entries(document.paths).flatMap(([path, { post }]) => {
    const schema = post?.requestBody?.content["application/json"]?.schema;
    if (schema === undefined) return [];
    const values = valuesOf(schema, document.components.schemas, named) as fc.Arbitrary<Record<string, unknown>>;
    const fixed = fc.record(always, { noNullPrototype: true });
    return [{ path, values: fc.tuple(values, fixed).map(([body, more]) => ({ ...body, ...more })) }];
  });
}

type Body = Readonly<Record<string, unknown>>;
type Mutation = (body: Body) => string;

/** One change to a body, as text: a value, a key, or the text itself. */
const mutations: fc.Arbitrary<Mutation> = fc.oneof(
  fc.tuple(fc.nat(), fc.jsonValue({ maxDepth: 2 })).map(([at, value]) => replacing(at, value)),
  fc.nat().map((at) => dropping(at)),
  fc
    .tuple(fc.oneof(fc.constantFrom("__proto__", "constructor", "toString", "n ", ""), texts(0, 12)), fc.jsonValue())
    .map(([key, value]) => adding(key, value)),
  fc.nat().map(
    (at): Mutation =>
      (body) =>
        JSON.stringify(body).slice(0, at % JSON.stringify(body).length),
  ),
  fc.constantFrom("1e400", "-0", "9007199254740993", "01", "NaN", "[".repeat(40) + "]".repeat(40)).map(
    (text): Mutation =>
      (body) =>
        JSON.stringify({ ...body, n: "@" }).replace('"@"', () => text),
  ),
);

const keyAt = (body: Body, at: number): string => Object.keys(body)[at % Object.keys(body).length] ?? "model";

const replacing =
  (at: number, value: unknown): Mutation =>
  (body) =>
    JSON.stringify({ ...body, [keyAt(body, at)]: value });

const dropping =
  (at: number): Mutation =>
  (body) =>
    JSON.stringify(Object.fromEntries(Object.entries(body).filter(([key]) => key !== keyAt(body, at))));

/** As text, because an object literal would take some of these keys for something else. */
const adding =
  (key: string, value: unknown): Mutation =>
  (body) =>
    JSON.stringify(body).replace(/^\{/, () => `{${JSON.stringify(key)}:${JSON.stringify(value)},`);

const rawBodies: fc.Arbitrary<string | Uint8Array<ArrayBuffer>> = fc.oneof(
  fc.json(),
  texts(0, 12),
  fc.uint8Array({ maxLength: 40 }).map((bytes) => new Uint8Array(bytes)),
  fc.constantFrom("", "null", "[]", '""', "{}", "{".repeat(5_000), `"${"x".repeat(1024 * 1024)}"`),
);

/** Sound headers, or some of them odd. */
function oddHeaders(sound: Readonly<Record<string, string>>): fc.Arbitrary<Record<string, string>> {
  const printable = fc.string({ unit: fc.constantFrom(...PRINTABLE.split("")), maxLength: 20 });
  const odd = fc.oneof(
    fc.constantFrom<Record<string, string>>(
      { authorization: "Bearer sk-sortie-demo-wrong" },
      { authorization: "" },
      { authorization: "Basic eA==" },
      { "content-type": "text/plain" },
      { "content-type": "application/json; charset=utf-16" },
      { "content-type": "multipart/form-data; boundary=x" },
      { "x-big": "x".repeat(17_000) },
      { origin: "https://evil.example" },
      { accept: "text/event-stream" },
    ),
    printable.map((value) => ({ "x-request-id": value })),
    printable.map((value) => ({ "content-type": value })),
    printable.map((value) => ({ authorization: value })),
  );
  return fc.oneof(
    fc.constant({ ...sound }),
    odd.map((more) => ({ ...sound, ...more })),
  );
}

function paths(documented: readonly string[], models: readonly string[]): fc.Arbitrary<string> {
  const segment = fc.oneof(
    fc.constantFrom("v1", "models", "admin", "chat", "..", "%", "%zz", "%2e%2e", "bundle.json", "", "__proto__"),
    fc.string({ maxLength: 8 }).map((text) => encodeURIComponent(text.toWellFormed())),
  );
  const id = fc.oneof(fc.constantFrom(...models), segment);
  return fc.oneof(
    fc.tuple(fc.constantFrom(...documented), id).map(([path, value]) => path.replace(/\{\w+\}/, () => value)),
    fc.tuple(fc.constantFrom(...documented), segment).map(([path, more]) => `${path}/${more}?${more}=${more}`),
    fc.array(segment, { maxLength: 4 }).map((segments) => `/${segments.join("/")}`),
  );
}
