import t from "tap";
import { testRows } from "./gguf-cases";
import { headers, truncations } from "./gguf-cases-container";

testRows(t, [...truncations, ...headers]);
