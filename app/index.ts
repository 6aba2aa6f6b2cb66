/** Tidegate as a library: the service, its config, and the contracts that parts of one's own are built against. */
export { ConfigProblems } from './config-problems.ts';
export { Service, type ServiceOptions } from './service.ts';
export { loadConfig, parseConfig, type ConfigResult, type Environment, type LoadedConfig } from './config.ts';
export { configSchema, publishedConfigSchema, type Config } from './config-schema.ts';
export { createLogger, silentLogger, type Logger, type LoggerOptions } from './logger.ts';
export { VERSION } from './version.ts';
export { Batch, Verdict, ScoreStatus, type Finding, type Scores, type Severity, type StageName } from '../core/batch.ts';
export { systemClock, type Clock } from '../core/clock.ts';
export type * from '../core/contracts.ts';
export { ERRORS, PipelineError, type ErrorCode } from '../core/errors.ts';
export { eventId, keyOf, UNCHANGED, ValueRow, versionOf } from '../core/event.ts';
export type {
  ChangeEvent,
  Checkpoint,
  Column,
  ColumnType,
  Dataset,
  DatasetName,
  EncodedRow,
  LaneId,
  Operation,
  Position,
  Row,
  Value,
  Version,
} from '../core/event.ts';
export { holdFirst } from '../core/hold-first.ts';
export { runPipeline, type PipelineParts, type PipelineSignals } from '../core/pipeline.ts';
export type { Problem } from '../core/problems.ts';
