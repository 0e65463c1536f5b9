/** `cloudflare:workers` outside the runtime, as far as the objects need it. */
export class DurableObject {
  protected readonly ctx: unknown;
  constructor(ctx: unknown) {
    this.ctx = ctx;
  }
}
