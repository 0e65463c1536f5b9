/** What the playground asks of its deployment besides `GET /healthz`, on the wire. */
import { z } from "zod";

/** `GET /playground.json` */
export const playgroundSchema = z.strictObject({
  visitor_key: z.string().nullable().meta({
    description:
      "A key that the operator gives to whoever opens the playground (PLAYGROUND_KEY); null: bring your own.",
  }),
});
