// A bare app that says its port and listens until it is killed.
import { makeApp } from "../guard-app";

const app = makeApp();
void app.listen({ port: 0, host: "127.0.0.1" }).then(() => {
  console.log((app.server.address() as { port: number }).port);
});
