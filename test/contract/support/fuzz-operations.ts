/** Every operation of the published document, with values for its path, query and body, and the bearer that opens it. */
import fc from "fast-check";
import { valuesOf, type JsonSchema, type JsonSchemas } from "./schema-arbitrary.ts";

export interface ApiDocument {
  readonly paths: Readonly<Record<string, Readonly<Record<string, ApiOperation>>>>;
  readonly components: { readonly schemas: JsonSchemas };
}
export interface ApiOperation {
  /** Names of the credentials that open it; none: it is open. */
  readonly security: readonly Readonly<Record<string, unknown>>[];
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: "path" | "query";
    readonly schema: JsonSchema;
  }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: JsonSchema }>> };
  readonly responses: Readonly<
    Record<string, { readonly content: Readonly<Record<string, { readonly schema: JsonSchema }>> }>
  >;
}

export interface FuzzSpace {
  readonly document: ApiDocument;
  /** Bearers by the document's names of them. */
  readonly bearers: Readonly<Record<string, string>>;
  /** Model ids that are answered to. */
  readonly models: readonly string[];
  /** Values of path parameters that are there, by name. */
  readonly parts: Readonly<Record<string, readonly string[]>>;
  /** Stands in prompts: must never be logged. */
  readonly canary: string;
  /** Values of fields that every body to the model shall have, for servers on which an answer takes time. */
  readonly always?: Readonly<Record<string, fc.Arbitrary<unknown>>>;
}

export type Body = Readonly<Record<string, unknown>>;

export interface Operation {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly path: fc.Arbitrary<string>;
  /** null: it takes none. */
  readonly body: fc.Arbitrary<Body> | null;
}

/** Every documented operation, with the bearer that opens it. */
export function operationsOf(space: FuzzSpace): Operation[] {
  return Object.entries(space.document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      method: method.toUpperCase(),
      headers: authorised(space, operation),
      path: pathOf(space, path, operation),
      body: bodyOf(space, operation),
    })),
  );
}

function authorised({ bearers }: FuzzSpace, { security }: ApiOperation): Record<string, string> {
  const [name] = Object.keys(security[0] ?? {});
  return name === undefined ? {} : { authorization: `Bearer ${bearers[name] ?? ""}` };
}

/** Parts of the path are there in nine of ten cases, and a query has some of its parameters. */
function pathOf({ document, parts }: FuzzSpace, template: string, operation: ApiOperation): fc.Arbitrary<string> {
  const { schemas } = document.components;
  const parameters = operation.parameters ?? [];
  const named = parameters.map(({ name, in: place, schema }) => {
    const derived = valuesOf(schema, schemas).map((value) => encodeURIComponent(String(value).toWellFormed()));
    const known = parts[name];
    if (place === "query") return fc.option(derived.map((value) => ({ place, name, value })));
    const value = known ? fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...known) }, derived) : derived;
    return value.map((told) => ({ place, name, value: told }));
  });
  return fc.tuple(...named).map((chosen) => {
    let path = template;
    const query: string[] = [];
    for (const parameter of chosen) {
      if (parameter?.place === "path") path = path.replace(`{${parameter.name}}`, () => parameter.value);
      else if (parameter) query.push(`${parameter.name}=${parameter.value}`);
    }
    return query.length === 0 ? path : `${path}?${query.join("&")}`;
  });
}

/** A body; nine in ten of those to the model name one that is there. */
function bodyOf(space: FuzzSpace, { requestBody }: ApiOperation): fc.Arbitrary<Body> | null {
  const { document, models, canary, always = {} } = space;
  const schema = requestBody?.content["application/json"]?.schema;
  if (schema === undefined) return null;
  const withCanary = (derived: fc.Arbitrary<unknown>) =>
    fc.oneof({ weight: 5, arbitrary: derived }, fc.constant(canary));
  const named = {
    model: (derived: fc.Arbitrary<unknown>) => fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...models) }, derived),
    content: withCanary,
    prompt: withCanary,
    text: withCanary,
  };
  const values = valuesOf(schema, document.components.schemas, named) as fc.Arbitrary<Body>;
  const fixed = fc.record(always, { noNullPrototype: true });
  return fc.tuple(values, fixed).map(([body, more]) => ("model" in body ? { ...body, ...more } : body));
}
