// Starts the portal.

import { connect } from "./rpc.ts";
import { loadScreens, Router } from "./router.ts";
import { createPortal } from "./server.ts";
import { Sessions } from "./sessions.ts";
import { readSettings, SettingError } from "./settings.ts";
import { developmentTokens } from "./tokens.ts";

try {
  const settings = readSettings(process.env);
  const server = createPortal({
    settings,
    router: new Router(await loadScreens()),
    sessions: new Sessions(),
    transport: connect(settings.serviceUrl),
    tokens: await developmentTokens(settings.keyFile),
  });
  server.listen(settings.port, settings.host, () => {
    console.log(`Portal: ${settings.origin.href} (contact service: ${settings.serviceUrl})`);
  });
  server.on("error", (error: NodeJS.ErrnoException) => {
    const cause = error.code === "EADDRINUSE" ? "address in use" : (error.code ?? error.message);
    fail(`PORTAL_ADDR: cannot listen on ${settings.host}:${settings.port}: ${cause}`);
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      server.close(() => process.exit());
      server.closeIdleConnections();
    });
  }
} catch (error) {
  if (!(error instanceof SettingError)) {
    throw error;
  }
  fail(error.message);
}

function fail(line: string): never {
  console.error(`portal: ${line}`);
  process.exit(1);
}
