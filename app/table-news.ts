/** What a source tells of single tables, as lines of the log. */
import type { SourceListeners } from './connect.ts';
import type { Logger } from './logger.ts';

/** `logger`: of the pipeline. */
export function tableNews(logger: Logger): Pick<SourceListeners, 'onLeftOut' | 'onRenamed' | 'onMissed' | 'onMissing'> {
  return {
    onLeftOut: (dataset) => logger.warn('a table was dropped before it was copied to its end, and is left out', { dataset }),
    onRenamed: (dataset, table) =>
      logger.warn('a table has another name at the source now: it is not read until it has its own again', { dataset, table }),
    onMissed: (dataset) =>
      logger.warn(
        'a table was not published as before for a while, or is another one of its name: its rows are read again; what was deleted meanwhile stays until `tidegate verify --repair`',
        { dataset },
      ),
    onMissing: ({ table, topic }) => logger.warn('there is no topic for a table yet; it is read once there is', { table, topic }),
  };
}
