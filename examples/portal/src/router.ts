// Finds the screens in src/screens, and the route of a request.

import { readdir } from "node:fs/promises";
import type { Route, Screen } from "./screen.ts";

export interface Match {
  route: Route;
  parameters: Record<string, string>;
}

export class Router {
  readonly navigation: NonNullable<Screen["navigation"]>[];
  readonly #routes: { route: Route; parts: string[] }[];

  constructor(screens: Screen[]) {
    this.navigation = screens
      .flatMap(({ navigation }) => navigation ?? [])
      .sort((one, other) => one.order - other.order);
    this.#routes = screens
      .flatMap(({ routes }) => routes)
      .map((route) => ({ route, parts: route.path.split("/") }));
  }

  find(method: string, path: string): Match | undefined {
    const parts = path.split("/");
    for (const { route, parts: pattern } of this.#routes) {
      const parameters = route.method === method && matchParts(pattern, parts);
      if (parameters) {
        return { route, parameters };
      }
    }
    return undefined;
  }
}

export async function loadScreens(): Promise<Screen[]> {
  const folder = new URL("./screens/", import.meta.url);
  const files = (await readdir(folder)).filter((name) => name.endsWith(".ts")).sort();
  const modules = await Promise.all(files.map((name) => import(new URL(name, folder).href)));
  return modules.map((module: { default: Screen }) => module.default);
}

function matchParts(pattern: string[], parts: string[]): Record<string, string> | undefined {
  if (pattern.length !== parts.length) {
    return undefined;
  }
  const parameters: Record<string, string> = {};
  for (const [index, expected] of pattern.entries()) {
    const part = parts[index] ?? "";
    if (expected.startsWith(":") && part) {
      parameters[expected.slice(1)] = part;
    } else if (expected !== part) {
      return undefined;
    }
  }
  return parameters;
}
