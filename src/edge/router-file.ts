/** The gates of a bundle, for the Worker and for a shard. */
import { log } from "../log.ts";
import { readVerified, type Bundle, type BundleSource } from "../model/bundle.ts";
import { parseRouter, type Router } from "../policy/router.ts";

/**
 * Reads router.json. A file that is damaged or foreign is refused, and the log says so; the service goes on without, as
 * if the checkpoint had never been calibrated: the deepest exit answers whoever leaves the exit open.
 */
export async function readRouter(source: BundleSource, bundle: Bundle): Promise<Router | null> {
  if (bundle.router === undefined) return null;
  try {
    return parseRouter(JSON.parse(new TextDecoder().decode(await readVerified(source, bundle.router))), bundle);
  } catch (error) {
    log("router.refused", { error: String(error) }, "error");
    return null;
  }
}
