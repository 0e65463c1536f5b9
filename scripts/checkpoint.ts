/** Which checkpoint every command builds, calibrates and serves. */

/** Folder in Hugging Face layout, from the environment variable `CHECKPOINT`. */
export const CHECKPOINT = process.env["CHECKPOINT"] || "models/tiny";
/** Its bundle: one at a time, where wrangler.toml and the origin look for it. */
export const BUNDLE = "build/bundle";
