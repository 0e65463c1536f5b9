/** Values of a JSON Schema, as far as the published document uses it. */
import fc from "fast-check";

/** The keywords that `/openapi.json` uses; `title` and its like say nothing about values. */
export interface JsonSchema {
  readonly $ref?: string;
  readonly anyOf?: readonly JsonSchema[];
  readonly not?: JsonSchema;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly type?: string | readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly items?: JsonSchema;
  readonly prefixItems?: readonly JsonSchema[];
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly propertyNames?: JsonSchema;
  readonly additionalProperties?: JsonSchema | boolean;
}

export type JsonSchemas = Readonly<Record<string, JsonSchema>>;

/** Longest text, list and set of optional keys that is made up: more finds nothing new. */
const MAX_TEXT = 12;
const MAX_LIST = 3;
const MAX_OPTIONAL_KEYS = 6;

/** By a property's name: what to take instead of the values that its schema gives. */
export type Named = Readonly<Record<string, (derived: fc.Arbitrary<unknown>) => fc.Arbitrary<unknown>>>;

/** Text in which encodings go wrong: surrogates, control tokens and bytes, besides plain words. */
export const texts = (min: number, max: number): fc.Arbitrary<string> =>
  fc.oneof(
    fc.string({ unit: "grapheme", minLength: min, maxLength: Math.min(max, MAX_TEXT) }),
    fc.string({ unit: "binary", minLength: min, maxLength: Math.min(max, MAX_TEXT) }),
    fc
      .constantFrom("<|user|>", "<|end|>", "\ud800", "\u0000", "What is 2 plus 2?")
      .filter(({ length }) => length <= max),
  );

/**
 * @param schemas what references point to
 * @param named changes to properties of these names, at any depth
 * @throws Error for a keyword it does not know: the test must grow with the document
 */
export function valuesOf(schema: JsonSchema, schemas: JsonSchemas, named: Named = {}): fc.Arbitrary<unknown> {
  const of = (part: JsonSchema): fc.Arbitrary<unknown> => valuesOf(part, schemas, named);
  if (schema.$ref !== undefined) return of(schemas[schema.$ref.replace("#/components/schemas/", "")] ?? {});
  if (schema.anyOf) return fc.oneof(...schema.anyOf.filter(({ not }) => not === undefined).map(of));
  if ("const" in schema) return fc.constant(schema.const);
  if (schema.enum) return fc.constantFrom(...schema.enum);
  if (Array.isArray(schema.type)) return fc.oneof(...schema.type.map((type: string) => of({ ...schema, type })));
  switch (schema.type) {
    case undefined:
      return fc.jsonValue({ maxDepth: 2 });
    case "null":
      return fc.constant(null);
    case "boolean":
      return fc.boolean();
    case "string":
      return texts(schema.minLength ?? 0, schema.maxLength ?? MAX_TEXT);
    case "integer":
      return integers(schema.minimum ?? Number.MIN_SAFE_INTEGER, schema.maximum ?? Number.MAX_SAFE_INTEGER);
    case "number":
      return numbers(schema);
    case "array":
      if (schema.prefixItems) return fc.tuple(...schema.prefixItems.map(of));
      return fc.array(of(schema.items ?? {}), {
        minLength: schema.minItems ?? 0,
        maxLength: Math.min(schema.maxItems ?? MAX_LIST, MAX_LIST),
      });
    case "object":
      return objects(schema, of, named);
    default:
      throw new Error(`unknown type ${String(schema.type)}`);
  }
}

/** Small ones are as likely as all. */
function integers(min: number, max: number): fc.Arbitrary<number> {
  const low = Math.max(min, -8);
  return fc.oneof(fc.integer({ min: low, max: Math.min(max, low + 16) }), fc.maxSafeInteger().map(clamp(min, max)));
}

function numbers({ minimum, exclusiveMinimum, maximum = 1e9 }: JsonSchema): fc.Arbitrary<number> {
  const min = minimum ?? exclusiveMinimum ?? -1e9;
  return fc.double({ min, max: maximum, noNaN: true, minExcluded: exclusiveMinimum !== undefined });
}

const clamp = (min: number, max: number) => (value: number) => Math.min(max, Math.max(min, value));

function objects(
  { properties = {}, required = [], additionalProperties, propertyNames }: JsonSchema,
  of: (schema: JsonSchema) => fc.Arbitrary<unknown>,
  named: Named,
): fc.Arbitrary<unknown> {
  if (typeof additionalProperties === "object") {
    const keys = texts(0, propertyNames?.maxLength ?? MAX_TEXT).filter((key) => key !== "__proto__");
    return fc.dictionary(keys, of(additionalProperties), { maxKeys: MAX_LIST });
  }
  const value = (key: string): fc.Arbitrary<unknown> => {
    const derived = of(properties[key] ?? {});
    return named[key]?.(derived) ?? derived;
  };
  const possible = Object.keys(properties).filter((key) => canExist(properties[key] ?? {}));
  const optional = possible.filter((key) => !required.includes(key));
  const needed = fc.record(Object.fromEntries(required.map((key) => [key, value(key)])), { noNullPrototype: true });
  const extra = fc
    .subarray(optional, { maxLength: Math.min(optional.length, MAX_OPTIONAL_KEYS) })
    .chain((keys) => fc.record(Object.fromEntries(keys.map((key) => [key, value(key)])), { noNullPrototype: true }));
  return fc.tuple(needed, extra).map(([always, sometimes]) => ({ ...always, ...sometimes }));
}

/** Not a property of which nothing is a value. */
function canExist({ not, anyOf }: JsonSchema): boolean {
  return not === undefined && (anyOf === undefined || anyOf.some(canExist));
}
