/**
 * The one engine of an isolate. Durable Objects of one class may share an isolate, so the sessions live in the
 * module, are loaded once, and a failed load is tried again by the next request.
 */
import { openBundle } from "../model/bundle.ts";
import { loadEngine, type Engine } from "../model/engine.ts";
import { webRuntime } from "../model/runtime-web.ts";
import { assetSource } from "./asset-source.ts";

let loading: Promise<Engine> | null = null;
let loaded: Engine | null = null;

/** The engine, if it is loaded. */
export function currentEngine(): Engine | null {
  return loaded;
}

/**
 * The engine with the edge's exits, loading and warming it up first if need be.
 * @throws BundleError, EngineError as `loadEngine`; the next call tries again
 */
export function loadedEngine(assets: Fetcher, edgeExits: readonly number[]): Promise<Engine> {
  loading ??= load(assets, edgeExits).catch((error: unknown) => {
    loading = null;
    throw error;
  });
  return loading;
}

async function load(assets: Fetcher, edgeExits: readonly number[]): Promise<Engine> {
  const source = assetSource(assets);
  const bundle = await openBundle(source);
  const exits = bundle.exits.filter((exit) => edgeExits.includes(exit));
  const engine = await loadEngine({ bundle, source, runtime: webRuntime(), exits });
  await engine.warmUp();
  loaded = engine;
  return engine;
}
