/** Files to sessions: reads, verifies and opens a bundle's graphs one after another. */
import { type Bundle, type BundleFile, type BundleGraph, type BundleSource, readVerified } from "./bundle.ts";
import { BundleError } from "./errors.ts";
import type { Network } from "./network.ts";
import { networkOfPieces } from "./pieces.ts";
import type { GraphSession, GraphWeights, Runtime } from "./runtime.ts";
import { wholeNetwork } from "./whole.ts";

/**
 * Opens the network down to segment `depth` (a count): whole where all of it is wanted and the runtime has room for it.
 *
 * @throws BundleError; what was opened before is freed.
 */
export async function loadNetwork(
  runtime: Runtime,
  source: BundleSource,
  bundle: Bundle,
  depth: number,
): Promise<Network> {
  if (runtime.holdsWhole && depth === bundle.segments.length) {
    const weights = [bundle.rim, ...bundle.segments].flatMap((part) => part.weights);
    return wholeNetwork(await openGraph(runtime, source, { graph: bundle.whole, weights }), bundle);
  }
  const opened: GraphSession[] = [];
  try {
    const segments = bundle.segments.slice(0, depth);
    for (const graph of [bundle.rim, ...segments]) opened.push(await openGraph(runtime, source, graph));
  } catch (error) {
    for (const session of opened) await session.dispose();
    throw error;
  }
  const [rim, ...segments] = opened;
  if (rim === undefined) throw new RangeError("a bundle has at least its rim");
  return networkOfPieces(rim, segments, bundle);
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
