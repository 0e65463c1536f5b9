/** `npm run cost`: a month's bill of a deployment, beside the same prompts on GPUs alone. */
import { parseArgs } from "node:util";
import { gpuCost, sortieCost, type Cost, type Workload } from "./cost/model.ts";

const HELP = `npm run cost -- [options]

  --prompts N          a month (1e6)
  --prompt-tokens N    of one prompt (200)
  --answer-tokens N    of one answer (100)
  --edge-share S       prompts that the edge answers alone, 0 to 1 (0.8); /admin shows yours
  --edge-prefill N     tokens/s of the shard, npm run bench:edge (302: SmolLM2-135M's shape, 12 of 30 layers)
  --edge-decode N      tokens/s of the shard (40.9)
  --gateway-cpu MS     the Worker's own CPU a request, npm run bench:gateway (4)
  --gpu-usd-hour N     one GPU (2.50)
  --gpu-prefill N      its tokens/s over all it answers at once (20000)
  --gpu-decode N       the same, written (2000)
  --gpu-use S          share of its time that may be busy (0.5)
  --help               this text

Platform prices are those published for Workers Paid (scripts/cost/model.ts). The GPU's price and speeds are yours to say.`;

const option = (value: string) => ({ type: "string", default: value }) as const;
const { values } = parseArgs({
  options: {
    prompts: option("1e6"),
    "prompt-tokens": option("200"),
    "answer-tokens": option("100"),
    "edge-share": option("0.8"),
    "edge-prefill": option("302"),
    "edge-decode": option("40.9"),
    "gateway-cpu": option("4"),
    "gpu-usd-hour": option("2.50"),
    "gpu-prefill": option("20000"),
    "gpu-decode": option("2000"),
    "gpu-use": option("0.5"),
    help: { type: "boolean", default: false },
  },
});

/** @throws Error naming the option */
function number(name: Exclude<keyof typeof values, "help">, max = Infinity, min = 0): number {
  const value = Number(values[name]);
  if (!Number.isFinite(value) || value < min || value > max) {
    throw new Error(`--${name} must be a number from ${min} to ${max}, it is ${JSON.stringify(values[name])}`);
  }
  return value;
}

const usd = (value: number): string => `$${value.toFixed(2)}`;

function table(title: string, { platform, gpus, usd: total }: Cost): string {
  const rows = [...platform, gpus].map(({ what, amount, usd: cost }) => {
    return `  ${what.padEnd(16)}${Math.round(amount).toLocaleString("en").padStart(18)}${usd(cost).padStart(14)}`;
  });
  return [title, ...rows, `  ${"a month".padEnd(34)}${usd(total).padStart(14)}`].join("\n");
}

/** Smallest speed and share that are more than nothing. */
const MIN_POSITIVE = 1e-6;

try {
  if (values.help) console.log(HELP);
  else {
    const load: Workload = {
      prompts: number("prompts"),
      promptTokens: number("prompt-tokens"),
      answerTokens: number("answer-tokens"),
      edgeShare: number("edge-share", 1),
      gatewayCpuMs: number("gateway-cpu"),
      edgePrefill: number("edge-prefill", Infinity, MIN_POSITIVE),
      edgeDecode: number("edge-decode", Infinity, MIN_POSITIVE),
      gpuUsdHour: number("gpu-usd-hour"),
      gpuPrefill: number("gpu-prefill", Infinity, MIN_POSITIVE),
      gpuDecode: number("gpu-decode", Infinity, MIN_POSITIVE),
      gpuUse: number("gpu-use", 1, MIN_POSITIVE),
    };
    const [sortie, alone] = [sortieCost(load), gpuCost(load)];
    console.log(`${table("Sortie", sortie)}\n\n${table("GPUs alone", alone)}\n`);
    console.log(JSON.stringify({ load, sortie_usd: sortie.usd, gpu_usd: alone.usd, ratio: sortie.usd / alone.usd }));
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
}
