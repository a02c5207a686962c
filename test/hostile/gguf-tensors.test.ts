import t from "tap";
import { testRows } from "./gguf-cases";
import { nameRows, rangeRows, shapeRows, typeRows } from "./gguf-cases-tensors";

testRows(t, [...nameRows, ...shapeRows, ...typeRows, ...rangeRows]);
