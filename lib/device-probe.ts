import { binding } from "./binding";
import { listDevices } from "./devices";

/**
 * Run in a process of its own with the path of a library of devices: loads it and asks for its devices, so that a driver that ends its
 * process ends this one. Prints what binding.devices() says, or the error as { code, message }. Without a path: what listDevices() says.
 */
async function probe(path: string | undefined): Promise<string> {
  try {
    if (path === undefined) return JSON.stringify(await listDevices());
    await binding().addDeviceLibrary(path).promise;
    return await binding().devices().promise;
  } catch (error) {
    const { code, message } = error as { code?: string; message?: string };
    return JSON.stringify({ code, message });
  }
}

void probe(process.argv[2]).then((report) => {
  process.stdout.write(`\n${report}\n`, () => process.exit(0));
});
