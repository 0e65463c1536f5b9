/** What this deployment serves, loaded once an isolate. */
import type { Bundle } from "./model/bundle.ts";

export interface Catalogue {
  readonly bundle: Bundle;
}

/** The bundle's manifest, tokenizer and gates, read from the static assets; later calls share the first's result. */
export declare function loadCatalogue(env: unknown): Promise<Catalogue>;
