/** `npm run golden:fixtures`: the reference logits of models/tiny, by PyTorch. Run it when the checkpoint changes. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "..");
const PYTHON = join(ROOT, "gpu-backend/.venv/bin/python");

if (!existsSync(PYTHON)) {
  console.error(`${PYTHON} is not there; npm test -- --only python makes it`);
  process.exitCode = 1;
} else {
  const args = [
    "-m",
    "sortie.golden",
    "--checkpoint",
    "../models/tiny",
    "--out",
    "../test/golden/fixtures/float32.json",
  ];
  const { status } = spawnSync(PYTHON, args, { cwd: join(ROOT, "gpu-backend"), stdio: "inherit" });
  process.exitCode = status ?? 1;
}
