export { attribution } from "./attribution";
export { bench } from "./bench";
export type { BenchOptions, BenchProgress } from "./bench/bench-options";
export type { BenchReport, BenchWorkReport, PictureCost, Spread } from "./bench/bench-report";
export { type BenchWork, benchWorks } from "./bench/bench-work";
export { type Roofline, roofline, type RooflineOptions } from "./bench/roofline";
export type { BenchProfile, BenchStage } from "./bench/stage-shares";
export { benchModel, type BenchModelOptions, type BenchShape, benchShapes } from "./bench/synthetic-cache";
export { bundledModelPath } from "./bundled-model";
export {
  convert,
  type ConvertOptions,
  type ConvertProgress,
  type ConvertSummary,
  type ConvertType,
  convertTypes,
} from "./convert";
export type { Device, DeviceLibrary, DeviceReport } from "./devices";
export { listDevices } from "./devices";
export { diagnose, type Diagnosis } from "./doctor";
export { cosine, similarity } from "./embedding";
export type { EmbedResult } from "./embed-run";
export { errorCodes, GmeError, type GmeErrorCode, type GmeErrorDetails, printable } from "./errors";
export type { GmeInput, ImageSource, RawImage } from "./input";
export { type FileReport, type ImagePlan, inspectFile, inspectImage, planImage } from "./inspect";
export { type HashOptions, hashTensors } from "./model-hash";
export { GmeModel, load } from "./model";
export type { EngineProcessReport, ModelInfo, ModelMemory } from "./model-info";
export type { EmbedProfile, Stage, StageTime, TokenCount } from "./model-work";
export {
  type EmbedOptions,
  type EmbedProgress,
  embedOptions,
  type ImageOptions,
  imageOptions,
  type LoadOptions,
  loadOptions,
  nearestName,
  type OptionSpec,
  type Orientation,
  type Overflow,
  type Positions,
  type SpecialTokens,
} from "./options";
export { fetchImage, type FetchImageOptions } from "./remote-image";
export { littleEndian, type NamedTensor, writeSafetensors } from "./safetensors-file";
export { type KnownModel, knownModels } from "./store/known-models";
export {
  defaultModel,
  type ListedModel,
  listModels,
  type RemoveOptions,
  removeModel,
  setDefaultModel,
  type StoredModel,
} from "./store/model-store";
export { type PulledModel, pullModel } from "./store/pull";
export type { PullOptions, PullProgress } from "./store/pull-request";
export { version } from "./version";
