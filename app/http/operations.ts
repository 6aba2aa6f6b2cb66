/** What the HTTP server asks of the service: the service implements it, tests may stand in for it. */
import type { QuarantineFilter } from '../../core/contracts.ts';
import type { DatasetName } from '../../core/event.ts';
import type { WindowFilter } from '../../core/windows.ts';
import type { RereadRequest } from '../../cdc/postgres/reread.ts';
import type { ModelRegistry } from '../../inference/models/registry.ts';
import type { Decided } from '../../sync/postgres/schema-desk.ts';
import type { Metrics } from '../../ops/metrics.ts';
import type {
  DatasetView,
  ItemDetail,
  HeldByRuleView,
  ItemPage,
  LaneView,
  ModelVersionView,
  LotsView,
  Ready,
  ReleaseView,
  ReloadView,
  SchemaChangeDetailView,
  SchemaChangeView,
  SnapshotView,
  Status,
  WindowView,
} from './shapes.ts';
import type { RuleSeriesView, SlosView } from './rule-shapes.ts';

/** Which items are looked for; those of every pipeline where none is named. */
export type ItemFilter = Omit<QuarantineFilter, 'after' | 'limit'> & { readonly pipeline?: string };

/** Which items an operator means: by id, or all that fit a filter. */
export interface ItemChoice {
  readonly ids?: readonly string[];
  readonly filter?: ItemFilter;
}

export interface Operations {
  status(): Promise<Status>;
  ready(): Ready;
  lanes(): Promise<readonly LaneView[]>;
  datasets(): Promise<readonly DatasetView[]>;
  readonly metrics: Pick<Metrics, 'series' | 'prometheus'>;

  /** `after` is the `next` of the page before. */
  quarantine(filter: ItemFilter, limit: number, after: string | null): Promise<ItemPage>;
  /** Null: of every pipeline. */
  heldByRule(pipeline: string | null): Promise<HeldByRuleView>;
  quarantined(id: string): Promise<ItemDetail | null>;
  release(choice: ItemChoice, by: string, dryRun: boolean): Promise<ReleaseView>;
  /** The ids discarded. */
  discard(choice: ItemChoice, by: string, why: string): Promise<readonly string[]>;
  /** Grows whenever items were held or settled. */
  quarantineChanges(): number;

  /** Newest first; `open`: only those that park their dataset. */
  schemaChanges(open: boolean): Promise<readonly SchemaChangeView[]>;
  schemaChange(id: string): Promise<SchemaChangeDetailView | null>;
  approveSchema(id: string, by: string): Promise<Decided>;
  rejectSchema(id: string, by: string, why: string): Promise<Decided>;

  /** What rules over windows said, newest first. */
  /** Of one pipeline; null: of all. */
  windows(pipeline: string | null, filter: Omit<WindowFilter, 'limit'>, limit: number): Promise<readonly WindowView[]>;

  /** What rules of rows found over the last hour; null: of every pipeline, of every dataset. */
  ruleSeries(pipeline: string | null, dataset: string | null): RuleSeriesView;

  /** Service levels as they are now, and their incidents; null: of every dataset. */
  slo(dataset: DatasetName | null): Promise<SlosView>;
  /** Lots of rows, and the datasets that are held. */
  lots(limit: number): Promise<LotsView>;
  /** False where the dataset is not held. */
  letGoOn(dataset: string, by: string): Promise<boolean>;

  /** Reads its rule files again. Null where there is no such pipeline. `allowRemoved`: a file that is gone leaves its dataset unjudged. */
  reload(pipeline: string, by: string, allowRemoved: boolean): Promise<ReloadView | null>;

  /** False where there is no such pipeline. Resolves when it is remembered. */
  resume(pipeline: string, by: string): Promise<boolean>;
  halt(pipeline: string, by: string, why: string): Promise<boolean>;

  /** The rows that are read beside the log. Null or false where there is no such pipeline; the last two throw RereadRefused. */
  snapshot(pipeline: string): SnapshotView | null;
  steerSnapshot(pipeline: string, action: 'pause' | 'resume', by: string): Promise<boolean>;
  reread(pipeline: string, request: RereadRequest, by: string): Promise<string | null>;

  readonly models: ModelRegistry;
  modelVersions(model: string): readonly ModelVersionView[];
}
