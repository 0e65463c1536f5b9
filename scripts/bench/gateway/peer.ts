/** A gateway that people would pick instead: how it is installed, and how it is started in front of the null upstream. */
import { join, resolve } from "node:path";

/** Where peers are installed: never among the project's own dependencies. */
const PEERS = resolve("build/peers");

/** Folder of one version of a peer. */
export const peerFolder = (name: string, version: string) => join(PEERS, `${name}-${version}`);

export type Command = readonly [string, ...string[]];

/** How a peer is asked. */
export interface Launched {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly pid: number | null;
}

export interface Peer {
  readonly name: string;
  /** The file whose presence says that it is installed. */
  readonly program: string;
  /** Commands that install it, in order. */
  readonly install: readonly Command[];
  /** Starts it on `port`, with the null upstream as its only model. It ends with `stopAll`. */
  launch(upstream: string, port: number): Launched;
}

/** Lines of a peer's output worth showing. */
export const isError = (line: string): boolean => /\berror\b/i.test(line);
