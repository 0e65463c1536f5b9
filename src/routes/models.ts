/** `GET /v1/models` and `GET /v1/models/{id}`. */
import { Hono } from "hono";
import type { ModelList, ModelObject } from "../api/catalogue-answer.ts";
import { ApiError } from "../errors.ts";
import { modelIds } from "../policy/selection.ts";
import type { AppEnv, Flow } from "./context.ts";

/** Seconds since 1970. Checkpoints carry no date of their own: the day `sortie-bundle/1` was fixed. */
const CREATED = Date.UTC(2026, 10, 24) / 1000;

const modelObject = (id: string): ModelObject => ({ id, object: "model", created: CREATED, owned_by: "sortie" });

export function models({ chatDeps }: Flow): Hono<AppEnv> {
  return new Hono<AppEnv>()
    .get("/", async (c) => {
      const { catalogue } = await chatDeps(c.env, c.req.raw);
      const list: ModelList = { object: "list", data: modelIds(catalogue.bundle).map(modelObject) };
      return c.json(list);
    })
    .get("/:id", async (c) => {
      const { catalogue } = await chatDeps(c.env, c.req.raw);
      const id = c.req.param("id");
      if (modelIds(catalogue.bundle).includes(id)) return c.json(modelObject(id));
      throw new ApiError(`The model ${JSON.stringify(id)} does not exist: see GET /v1/models.`, {
        status: 404,
        type: "invalid_request_error",
        code: "model_not_found",
        param: "model",
      });
    });
}
