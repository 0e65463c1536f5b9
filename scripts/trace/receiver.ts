/** An OTLP/HTTP receiver for traces in JSON (https://opentelemetry.io/docs/specs/otlp/#otlphttp): what it takes, it keeps. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { z } from "zod";

const attributeSchema = z.object({ key: z.string(), value: z.record(z.string(), z.unknown()) });
const attributesSchema = z
  .array(attributeSchema)
  .default([])
  .transform((list) => Object.fromEntries(list.map(({ key, value }) => [key, Object.values(value)[0]])));
const nanosecondsSchema = z
  .string()
  .regex(/^\d+$/)
  .transform((text) => Number(BigInt(text) / 1_000n) / 1_000);

const spanSchema = z.object({
  traceId: z.string().regex(/^[0-9a-f]{32}$/),
  spanId: z.string().regex(/^[0-9a-f]{16}$/),
  /** Empty or absent: none. */
  parentSpanId: z.string().default(""),
  name: z.string(),
  /** Milliseconds since 1970. */
  startTimeUnixNano: nanosecondsSchema,
  endTimeUnixNano: nanosecondsSchema,
  attributes: attributesSchema,
});
const bodySchema = z.object({
  resourceSpans: z.array(
    z.object({
      resource: z.object({ attributes: attributesSchema }),
      scopeSpans: z.array(z.object({ spans: z.array(spanSchema) })),
    }),
  ),
});

export interface Span extends z.infer<typeof spanSchema> {
  readonly service: string;
}

export interface Receiver {
  /** Base address, as OTEL_EXPORTER_OTLP_ENDPOINT has it. */
  readonly url: string;
  /** All spans so far. */
  readonly spans: readonly Span[];
  /** Why bodies were refused. */
  readonly refused: readonly string[];
  stop(): void;
}

/** @param port 0: a free one */
export async function startReceiver(port = 0): Promise<Receiver> {
  const spans: Span[] = [];
  const refused: string[] = [];
  const server = createServer((request, response) => {
    void Array.fromAsync(request as AsyncIterable<Buffer>).then((chunks) => {
      try {
        spans.push(...spansOf(JSON.parse(Buffer.concat(chunks).toString())));
        response.setHeader("content-type", "application/json").end("{}");
      } catch (error) {
        refused.push(String(error));
        response.writeHead(400).end(String(error));
      }
    });
  }).listen(port, "127.0.0.1");
  await once(server, "listening");
  const { port: taken } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${taken}`, spans, refused, stop: () => server.close() };
}

function spansOf(body: unknown): Span[] {
  return bodySchema.parse(body).resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const service = String(resource.attributes["service.name"]);
    return scopeSpans.flatMap((scope) => scope.spans.map((span) => ({ ...span, service })));
  });
}
