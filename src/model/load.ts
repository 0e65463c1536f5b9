/** Files to sessions: reads, verifies and opens a bundle's graphs one after another. */
import { type BundleFile, type BundleGraph, type BundleSource, readVerified } from "./bundle.ts";
import { BundleError } from "./errors.ts";
import type { GraphSession, GraphWeights, Runtime } from "./runtime.ts";

export interface LoadedGraphs {
  readonly rim: GraphSession;
  readonly segments: readonly GraphSession[];
}

/** Opens the rim and `segments` in order. @throws BundleError; what was opened before is freed. */
export async function loadGraphs(
  runtime: Runtime,
  source: BundleSource,
  rim: BundleGraph,
  segments: readonly BundleGraph[],
): Promise<LoadedGraphs> {
  const opened: GraphSession[] = [];
  try {
    for (const graph of [rim, ...segments]) opened.push(await openGraph(runtime, source, graph));
  } catch (error) {
    for (const session of opened) await session.dispose();
    throw error;
  }
  const [first, ...rest] = opened;
  if (first === undefined) throw new RangeError("a bundle has at least its rim");
  return { rim: first, segments: rest };
}

/** One session. The files' bytes live only inside this call: an isolate has no room for two copies. */
async function openGraph(runtime: Runtime, source: BundleSource, files: BundleGraph): Promise<GraphSession> {
  const weights: GraphWeights[] = [];
  for (const file of files.weights) weights.push({ path: file.path, data: await readVerified(source, file) });
  const graph = await readVerified(source, files.graph);
  try {
    return await runtime.create(graph, weights);
  } catch (error) {
    throw unopened(files.graph, error);
  }
}

function unopened(file: BundleFile, cause: unknown): BundleError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new BundleError("graph", file.path, `the runtime cannot open it: ${reason}`, { cause });
}
