/** An OpenTelemetry Collector of this computer between Sortie and the receiver. Nothing is downloaded. */
import { existsSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { start } from "../dev/children.ts";
import { freePort } from "../dev/free-port.ts";

/** Its distributions' names. */
const NAMES = ["otelcol", "otelcol-contrib"];

/** The program that OTELCOL names, or one on the path; null: there is none. @throws Error when OTELCOL names none */
export function findCollector(): string | null {
  const named = process.env["OTELCOL"];
  if (named !== undefined) {
    if (existsSync(named)) return named;
    throw new Error(`OTELCOL: there is no ${named}`);
  }
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  return folders.flatMap((folder) => NAMES.map((name) => join(folder, name))).find(existsSync) ?? null;
}

/**
 * @param target base address that it hands its spans on to, as JSON
 * @returns its own. @throws Error with its last lines when it does not start
 */
export async function startCollector(program: string, target: string, port: number): Promise<string> {
  const endpoint = `127.0.0.1:${port === 0 ? await freePort() : port}`;
  const config = {
    receivers: { otlp: { protocols: { http: { endpoint } } } },
    exporters: { otlp_http: { endpoint: target, encoding: "json", compression: "none" } },
    service: {
      telemetry: { metrics: { level: "none" } },
      pipelines: { traces: { receivers: ["otlp"], exporters: ["otlp_http"] } },
    },
  };
  const path = join(mkdtempSync(join(tmpdir(), "sortie-collector-")), "config.json");
  writeFileSync(path, JSON.stringify(config)); // JSON is YAML
  const collector = start("collector", program, ["--config", path], process.env, () => false);
  await collector.waitForLine(/Everything is ready/);
  return `http://${endpoint}`;
}
