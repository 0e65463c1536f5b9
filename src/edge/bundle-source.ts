/** A bundle's files in the Worker: static assets, and R2 for weights that were not deployed with it (scripts/upload.ts). */
import type { Env } from "../env.ts";
import { weightsKey, type BundleSource } from "../model/bundle.ts";

/** Host of requests to the assets binding; never resolved. */
const ASSETS_ORIGIN = "https://assets.local";

export function bundleSource({ ASSETS: assets, MODEL: bucket }: Pick<Env, "ASSETS" | "MODEL">): BundleSource {
  return {
    async read(path, sha256) {
      const asset = await assets.fetch(`${ASSETS_ORIGIN}/${path}`);
      if (asset.ok) return new Uint8Array(await asset.arrayBuffer());
      await asset.body?.cancel();
      if (bucket === undefined || sha256 === undefined) {
        throw new Error(`static asset ${path} is missing (${asset.status}): run npm run build`);
      }
      const object = await bucket.get(weightsKey(sha256));
      if (object === null) throw new Error(`${path} is neither a static asset nor in R2: run npx sortie upload`);
      return new Uint8Array(await object.arrayBuffer());
    },
  };
}
