/**
 * The one engine of an isolate. Durable Objects of one class may share an isolate, so the sessions live in the
 * module, are loaded once, and a failed load is tried again by the next request.
 */
import { exitsAtEdge, settings, type Env } from "../env.ts";
import { openBundle } from "../model/bundle.ts";
import { loadEngine, type Engine } from "../model/engine.ts";
import { webRuntime } from "../model/runtime-web.ts";
import type { Router } from "../policy/router.ts";
import { bundleSource } from "./bundle-source.ts";
import { readRouter } from "./router-file.ts";

/** The engine, and the gates of its bundle; null where it has none that fit. */
export interface LoadedExit {
  readonly engine: Engine;
  readonly router: Router | null;
}

let loading: Promise<LoadedExit> | null = null;
let loaded: LoadedExit | null = null;

/** The engine, if it is loaded. */
export function currentEngine(): Engine | null {
  return loaded?.engine ?? null;
}

/**
 * The engine with the edge's exits and its gates, loading and warming it up first if need be.
 * @throws BundleError, EngineError as `loadEngine`; the next call tries again
 */
export function loadedExit(env: Env): Promise<LoadedExit> {
  loading ??= load(env).catch((error: unknown) => {
    loading = null;
    throw error;
  });
  return loading;
}

async function load(env: Env): Promise<LoadedExit> {
  const source = bundleSource(env);
  const bundle = await openBundle(source);
  const exits = exitsAtEdge(settings(env), bundle.exits);
  const engine = await loadEngine({ bundle, source, runtime: webRuntime(), exits });
  await engine.warmUp();
  loaded = { engine, router: await readRouter(source, bundle) };
  return loaded;
}
