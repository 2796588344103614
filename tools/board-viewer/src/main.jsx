// window.draw(dashboard, options) draws a dashboard and returns what was seen: queries, series, errors.
// window.shrink(picture) returns a PNG with a palette, which is a third of the size.
import '@fontsource/inter/400.css';
import '@fontsource/inter/500.css';
import { createRoot } from 'react-dom/client';
import { createTheme, dateTime } from '@grafana/data';
import { load } from './loading.js';
import { arranged, boxOf, Page } from './page.jsx';
import { Prometheus } from './prometheus.js';
import { shrink } from './shrink.js';
import { Variables } from './variables.js';

const SETTLES = 1500; // milliseconds until all panels have their size

// Options: prometheus (its address), width, minutes, scrape (interval of the scrapes), chosen (values
// of variables), unfolded (show the panels of folded rows), theme.
window.draw = async function draw(dashboard, options) {
  const { width, minutes, scrape = '15s', chosen = {}, unfolded = false, theme = 'dark' } = options;
  await Promise.all(['400 12px Inter', '500 14px Inter'].map((font) => document.fonts.load(font)));
  const to = Date.now();
  const range = { from: to - minutes * 60_000, to };
  const board = {
    title: dashboard.title,
    links: dashboard.links ?? [],
    width,
    scrape,
    range,
    timeRange: {
      from: dateTime(range.from),
      to: dateTime(range.to),
      raw: { from: `now-${minutes}m`, to: 'now' },
    },
    theme: createTheme({ colors: { mode: theme } }),
    prometheus: new Prometheus(options.prometheus),
    variables: new Variables(dashboard.templating?.list ?? [], chosen),
    marked: new WeakSet(),
  };
  document.body.style.background = board.theme.colors.background.canvas;
  await board.variables.resolve(board.prometheus, range);
  board.marks = await marksOf(dashboard.annotations?.list ?? [], board);

  const shown = arranged(dashboard.panels, unfolded);
  const loaded = new Map();
  for (const { panel, at } of shown.filter(({ panel: each }) => each.type !== 'row')) {
    const space = Math.floor(boxOf(at, width).width);
    loaded.set(panel.id, await load(panel, board, space).catch((error) => ({ error: String(error) })));
  }
  createRoot(document.getElementById('root')).render(
    <Page board={board} shown={shown} loaded={loaded} />
  );
  await new Promise((done) => setTimeout(done, SETTLES));
  return report(board, shown, loaded);
};

window.shrink = shrink;

// The points at which an annotation's query has a value.
async function marksOf(annotations, board) {
  const step = 15_000;
  const marks = [];
  for (const { expr, iconColor } of annotations.filter((each) => each.expr && each.enable)) {
    const colour = board.theme.visualization.getColorByName(iconColor);
    const found = await board.prometheus.over(board.variables.fill(expr), board.range, step);
    for (const { values } of found) {
      values.forEach(([seconds], index) => {
        if (index === 0 || (seconds - values[index - 1][0]) * 1000 > step) {
          marks.push({ time: seconds * 1000, colour });
        }
      });
    }
  }
  return marks;
}

function report(board, shown, loaded) {
  return {
    queries: board.prometheus.asked,
    variables: board.variables.texts,
    panels: shown
      .filter(({ panel }) => panel.type !== 'row')
      .map(({ panel }) => {
        const { frames = [], error } = loaded.get(panel.id);
        return {
          title: panel.title,
          type: panel.type,
          rows: panel.type === 'table' ? (frames[0]?.length ?? 0) : frames.length,
          error,
        };
      }),
  };
}
