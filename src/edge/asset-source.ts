/** Static assets as a bundle's files. */
import type { BundleSource } from "../model/bundle.ts";

/** Host of requests to the assets binding; never resolved. */
const ASSETS_ORIGIN = "https://assets.local";

export function assetSource(assets: Fetcher): BundleSource {
  return {
    async read(path) {
      const response = await assets.fetch(`${ASSETS_ORIGIN}/${path}`);
      if (!response.ok) throw new Error(`static asset ${path} is missing (${response.status}): run npm run build`);
      return new Uint8Array(await response.arrayBuffer());
    },
  };
}
