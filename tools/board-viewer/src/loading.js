// Loads the data of a panel: its queries at the step that Grafana would choose, then its transformations.
import {
  rangeUtil,
  standardTransformers,
  standardTransformersRegistry,
  transformDataFrame,
} from '@grafana/data';
import { bucketFrames, seriesFrames, tableFrames } from './prometheus.js';

standardTransformersRegistry.setInit(() => {
  const byId = new Map(Object.values(standardTransformers).map((each) => [each.id, each]));
  return [...byId.values()].map((each) => ({
    id: each.id,
    name: each.name,
    transformation: each,
    editor: () => null,
  }));
});

// The step has at most one point per pixel, and is not shorter than the interval of the scrapes.
export function stepOf(panel, board, width) {
  const scrape = rangeUtil.intervalToMs(board.scrape);
  const least = rangeUtil.intervalToMs(panel.interval || board.scrape);
  const span = board.range.to - board.range.from;
  const step = Math.max(least, rangeUtil.roundInterval(span / (panel.maxDataPoints ?? width)));
  return { step, rate: Math.max(step + scrape, 4 * scrape), span };
}

export async function load(panel, board, width) {
  const { step, rate, span } = stepOf(panel, board, width);
  const builtIn = {
    __interval: `${step / 1000}s`,
    __rate_interval: `${rate / 1000}s`,
    __range: `${span / 1000}s`,
  };
  const series = [];
  const rows = {};
  const buckets = [];
  for (const target of panel.targets ?? []) {
    const query = board.variables.fill(target.expr, builtIn);
    if (target.instant) {
      const answer = await board.prometheus.at(query, board.range.to);
      const frames = seriesFrames(answer, target, query);
      if (target.format === 'table') {
        rows[target.refId] = frames;
      } else {
        series.push(...frames);
      }
    } else {
      const answer = await board.prometheus.over(query, board.range, step);
      const frames = seriesFrames(answer, target, query, step);
      (target.format === 'heatmap' ? buckets : series).push(...frames);
    }
  }
  const tables = Object.keys(rows).length > 0 ? tableFrames(rows) : [];
  const frames = [...series, ...tables, ...bucketFrames(buckets)];
  return { step, frames: await transformed(panel.transformations ?? [], frames) };
}

function transformed(transformations, frames) {
  if (transformations.length === 0) {
    return frames;
  }
  return new Promise((resolve, reject) => {
    const context = { interpolate: (text) => text };
    transformDataFrame(transformations, frames, context).subscribe({ next: resolve, error: reject });
  });
}
