// Preloaded by the CLI tests: appends the path of every native addon that the process loads to the file GME_TEST_DLOPEN.
const { appendFileSync } = require("node:fs");
const dlopen = process.dlopen;
process.dlopen = (module, filename, ...rest) => {
  appendFileSync(process.env.GME_TEST_DLOPEN, `${filename}\n`);
  return dlopen.call(process, module, filename, ...rest);
};
