export { gmeServer } from "./app";
export { createHandler, type RequestHandler } from "./request-handler";
export type { ServedModel } from "./service/embed-service";
export type { ListenOptions, LogLevel, ServerOptions } from "./server-options";
export { checkListening, type GmeServer, startServer } from "./start-server";
