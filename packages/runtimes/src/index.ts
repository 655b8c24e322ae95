export {
  FILE_WINDOW_CHUNKS,
  FileAnswer,
  type FileFrame,
  FileOperation,
  MAX_FILE_CHUNK_BYTES,
  readFileFrame,
} from "./file-frames.ts";
export { findRuntimes, type Runtimes } from "./find-runtimes.ts";
export {
  FrameKind,
  type FrameListener,
  FrameReader,
  FrameWriter,
  LogFlag,
  MAX_FRAME_BYTES,
} from "./frames.ts";
export { type LanguageFolder, languageFolders } from "./language-folders.ts";
export {
  type ChannelLimits,
  checkedLoadReport,
  checkedRuntimeError,
  type HandlerRequestHead,
  type HandlerResponseHead,
  type InlineFunctionSource,
  LOG_LEVELS,
  type LoadReport,
  type LoadRequest,
  type LogLevel,
  type RuntimeError,
  splitLogFields,
} from "./messages.ts";
export {
  type BuildPlan,
  type BuildStep,
  type Contract,
  type Launch,
  type MissingRuntime,
  NO_BUILD,
  type Runtime,
  type RuntimeManifest,
  type RuntimeMount,
  type RuntimeRoot,
  type Transport,
} from "./runtime.ts";
