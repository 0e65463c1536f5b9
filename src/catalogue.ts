/** What this deployment serves: the manifest, the text rim (tokenizer, chat template) and the gates. */
import { bundleSource } from "./edge/bundle-source.ts";
import { readRouter } from "./edge/router-file.ts";
import type { Env } from "./env.ts";
import { openBundle, readVerified, type Bundle, type BundleFile, type BundleSource } from "./model/bundle.ts";
import { createChatTemplate, type ChatTemplate } from "./model/chat-template.ts";
import { createTokenizer, type Tokenizer } from "./model/tokenizer.ts";
import type { Router } from "./policy/router.ts";

export interface Catalogue {
  readonly bundle: Bundle;
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
  /** null when the checkpoint was never calibrated, or its router.json does not fit: the deepest exit answers then. */
  readonly router: Router | null;
}

let loading: Promise<Catalogue> | null = null;

/**
 * Reads the catalogue, once an isolate; after a failure the next call tries again.
 * @throws Error naming the file that is missing or does not fit
 */
export function loadCatalogue(env: Pick<Env, "ASSETS" | "MODEL">): Promise<Catalogue> {
  loading ??= readCatalogue(bundleSource(env)).catch((error: unknown) => {
    loading = null;
    throw error;
  });
  return loading;
}

/** {@link loadCatalogue} from any source of bundle files. */
export async function readCatalogue(source: BundleSource): Promise<Catalogue> {
  const bundle = await openBundle(source);
  const json = async (file: BundleFile): Promise<unknown> =>
    JSON.parse(new TextDecoder().decode(await readVerified(source, file)));
  const config = await json(bundle.tokenizer.config);
  const tokenizer = createTokenizer(await json(bundle.tokenizer.tokenizer));
  return {
    bundle,
    tokenizer,
    template: createChatTemplate(tokenizer, config),
    router: await readRouter(source, bundle),
  };
}
