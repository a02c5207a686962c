/*
 * Work on a device in a process of its own, which the device's driver may end. Reads one DeviceJob as JSON from stdin and writes a
 * DeviceAnswer per load, each as a line of JSON.
 */
import { type GmeInput, type LoadOptions, load } from "../../lib/index";

export interface DeviceJob {
  readonly loads: readonly {
    readonly path: string;
    readonly options: LoadOptions;
    readonly inputs: readonly GmeInput[];
    readonly profiled?: boolean;
  }[];
}

export interface DeviceAnswer {
  readonly info: Record<"device" | "visionDevice" | "deviceNote" | "name" | "type", string>;
  /** Of every input, its f32 numbers in base64. */
  readonly vectors: readonly string[];
  /** Of a profiled call with the first input and the first that has a picture; empty where it was not asked for. */
  readonly stages: readonly string[];
}

async function run({ loads }: DeviceJob): Promise<void> {
  for (const { path, options, inputs, profiled } of loads) {
    const gme = await load(path, options);
    const vectors = await gme.embedBatch([...inputs]);
    const picture = inputs.find((input) => typeof input === "object" && "image" in input);
    const sample = picture === undefined ? [inputs[0]] : [inputs[0], picture];
    const stages = profiled ? (await gme.profile(sample)).stages : [];
    const { device, visionDevice, deviceNote, name, type } = gme.info;
    const answer = {
      info: { device, visionDevice, deviceNote, name, type },
      vectors: vectors.map((vector) =>
        Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString("base64"),
      ),
      stages: stages.map(({ name }) => name),
    };
    process.stdout.write(`${JSON.stringify(answer)}\n`);
    await gme.close();
  }
}

let text = "";
process.stdin.setEncoding("utf8");
process.stdin.on("data", (part) => {
  text += part;
});
process.stdin.on("end", () => void run(JSON.parse(text) as DeviceJob));
