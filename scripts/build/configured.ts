/** Which checkpoint a deployment serves, as wrangler.toml names it: never what a shell happens to have set. */
import { readFileSync } from "node:fs";
import { parse } from "smol-toml";
import { z } from "zod";

const CONFIG = "wrangler.toml";

const configSchema = z.looseObject({
  env: z.record(
    z.string(),
    z.looseObject({ vars: z.looseObject({ CHECKPOINT: z.string(), FINGERPRINT: z.string() }) }),
  ),
});

export interface Configured {
  /** Folder of the checkpoint. */
  readonly checkpoint: string;
  readonly fingerprint: string;
}

/** @throws Error that says what to do */
export function configuredCheckpoint(environment: string, toml = readFileSync(CONFIG, "utf8")): Configured {
  const parsed = configSchema.safeParse(parse(toml));
  const vars = parsed.data?.env[environment]?.vars;
  if (vars === undefined || vars.CHECKPOINT === "") {
    throw new Error(
      `${CONFIG}: [env.${environment}.vars] must name the checkpoint that is deployed: CHECKPOINT and FINGERPRINT.`,
    );
  }
  return { checkpoint: vars.CHECKPOINT, fingerprint: vars.FINGERPRINT };
}

/** Commands of wrangler after which nothing of a build is public; `npm run dev` and the tests use them. */
const LOCAL_COMMANDS: readonly (string | undefined)[] = [undefined, "dev"];
/** Set by whoever builds the Worker's modules and deploys nothing. */
export const BUILD_ONLY = "SORTIE_BUILD_ONLY";

/** @throws Error when wrangler is about to deploy and no environment was named: then nothing says which checkpoint */
export function assertNoDeployment(environment: NodeJS.ProcessEnv): void {
  const { WRANGLER_COMMAND: wrangler } = environment;
  if (LOCAL_COMMANDS.includes(wrangler) || environment[BUILD_ONLY] === "1") return;
  throw new Error("Name the environment that is deployed, e.g. npx wrangler deploy --env production");
}

/**
 * Why a build must not be deployed; null: it may.
 * @param inShell the environment variable CHECKPOINT
 * @param built the fingerprint of the bundle
 */
export function deploymentFault(
  environment: string,
  { checkpoint, fingerprint }: Configured,
  inShell: string,
  built: string,
): string | null {
  const place = `${CONFIG}, [env.${environment}.vars]`;
  if (inShell !== "" && inShell !== checkpoint) {
    return `CHECKPOINT is ${inShell} here, but ${place} deploys ${checkpoint}. Unset CHECKPOINT, or change CHECKPOINT and FINGERPRINT there.`;
  }
  if (fingerprint === built) return null;
  return `${checkpoint} has the fingerprint ${built}, but ${place} deploys ${fingerprint || "none"}. If ${checkpoint} is what you want to deploy, set FINGERPRINT = "${built}" there.`;
}
