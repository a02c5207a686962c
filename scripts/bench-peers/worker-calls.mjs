/** Answers { call, name, argument } with { call, result } or { call, error }; says { ready: true } first. */
export function answerCalls(operations) {
  process.on("message", async ({ call, name, argument }) => {
    try {
      process.send({ call, result: await operations[name](argument) });
    } catch (error) {
      process.send({ call, error: String(error?.message ?? error) });
    }
  });
  process.on("disconnect", () => process.exit(0));
  process.send({ ready: true });
}
