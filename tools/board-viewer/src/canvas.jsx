// What Grafana's component library does not draw: state timelines, heat maps, and the marks of alerts.
import { useMemo } from 'react';
import { formattedValueToString, getValueFormat } from '@grafana/data';
import { UPlotChart, UPlotConfigBuilder } from '@grafana/ui';
import * as schemes from 'd3-scale-chromatic';

const LEGEND_HEIGHT = 28;

// An empty diagram over the range of time, with an axis of its own on the left, on which `draw` draws.
function diagram(board, { top, splits, labels, lines }, draw) {
  const { theme, range } = board;
  const config = new UPlotConfigBuilder('utc');
  const time = { scaleKey: 'x', isTime: true };
  const side = { scaleKey: 'y', isTime: false };
  config.addScale({ ...time, orientation: 0, direction: 1, range: () => [range.from, range.to] });
  config.addScale({ ...side, orientation: 1, direction: 1, range: [0, top] });
  config.addAxis({ ...time, placement: 'bottom', timeZone: 'utc', theme });
  config.addAxis({
    ...side,
    placement: 'left',
    splits: () => splits,
    values: () => labels,
    grid: { show: lines },
    ticks: { show: lines },
    gap: lines ? 5 : 16,
    theme,
  });
  config.addSeries({ scaleKey: 'y', pathBuilder: () => null, show: true, lineWidth: 0, theme });
  config.addHook('draw', (plot) => inside(plot, draw));
  return config;
}

function inside(plot, draw) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  draw(ctx, bbox, (time) => plot.valToPos(time, 'x', true));
  ctx.restore();
}

function Chart({ board, config, width, height }) {
  const ends = [
    [board.range.from, board.range.to],
    [0, 0],
  ];
  return <UPlotChart config={config} data={ends} width={width} height={height} />;
}

export function States({ panel, frames, board, step, width, height }) {
  const config = useMemo(() => {
    const count = frames.length;
    const part = panel.options.rowHeight ?? 0.9;
    const axis = {
      top: count,
      splits: frames.map((_, index) => count - index - 0.5),
      labels: frames.map((frame) => frame.name),
      lines: false,
    };
    return diagram(board, axis, (ctx, bbox, x) => {
      const row = bbox.height / count;
      ctx.globalAlpha = (panel.fieldConfig.defaults.custom?.fillOpacity ?? 70) / 100;
      frames.forEach(({ fields: [time, value] }, index) => {
        for (const { from, to, value: state } of stripes(time.values, value.values, step)) {
          ctx.fillStyle = value.display(state).color;
          const [left, right] = [x(from), x(Math.min(to, board.range.to))];
          const height = row * part;
          ctx.fillRect(left, bbox.top + row * index + (row - height) / 2, right - left, height);
        }
      });
    });
  }, [frames]);
  return <Chart board={board} config={config} width={width} height={height} />;
}

// Successive equal values, without gaps between them, as pieces of time.
function stripes(times, values, step) {
  const found = [];
  times.forEach((time, index) => {
    const last = found.at(-1);
    if (last && last.value === values[index] && time - last.to < step / 2) {
      last.to = time + step;
    } else {
      found.push({ from: time, to: time + step, value: values[index] });
    }
  });
  return found;
}

export function Heat({ panel, frames: [frame], board, step, width, height }) {
  const { options } = panel;
  const { config, colours, least, most } = useMemo(() => {
    const [time, ...buckets] = frame.fields;
    const counts = buckets.flatMap((bucket) => bucket.values).filter((count) => count > 0);
    const [least, most] = counts.length ? [Math.min(...counts), Math.max(...counts)] : [0, 0];
    const colours = shades(options.color, board.theme);
    const format = getValueFormat(options.yAxis?.unit ?? 'short');
    const word = (limit) =>
      Number.isFinite(Number(limit)) ? formattedValueToString(format(Number(limit))) : '∞';
    const axis = {
      top: buckets.length,
      splits: [...buckets, null].map((_, index) => index),
      labels: ['0', ...buckets.map((bucket) => bucket.config.displayNameFromDS)].map(word),
      lines: true,
    };
    const config = diagram(board, axis, (ctx, bbox, x) => {
      const row = bbox.height / buckets.length;
      buckets.forEach(({ values }, index) =>
        values.forEach((count, place) => {
          if (!(count > 0)) {
            return;
          }
          const part = most > least ? (count - least) / (most - least) : 1;
          const [left, right] = [x(time.values[place] - step), x(time.values[place])];
          const top = bbox.top + bbox.height - row * (index + 1);
          ctx.fillStyle = colours[Math.round(part * (colours.length - 1))];
          ctx.fillRect(left, top, Math.max(right - left - 1, 1), row - 1);
        })
      );
    });
    return { config, colours, least, most };
  }, [frame]);
  if (most === 0) {
    return null;
  }
  const short = getValueFormat('short');
  return (
    <div>
      <Chart board={board} config={config} width={width} height={height - LEGEND_HEIGHT} />
      <div style={{ display: 'flex', gap: 8, alignItems: 'center', paddingLeft: 40, fontSize: 12 }}>
        {formattedValueToString(short(least))}
        <div
          style={{
            width: 200,
            height: 12,
            background: `linear-gradient(90deg, ${colours.join(', ')})`,
          }}
        />
        {formattedValueToString(short(most))}
      </div>
    </div>
  );
}

// From few to many. In a dark theme many are light.
function shades({ scheme, steps, reverse }, theme) {
  const colour = schemes[`interpolate${scheme}`];
  const lightIsMany = theme.isDark !== Boolean(reverse);
  return Array.from({ length: steps + 1 }, (_, index) => {
    const part = index / steps;
    return colour(lightIsMany ? 1 - part : part);
  });
}

// Adds the marks of alerts to a diagram of Grafana's: a dashed line where each begins.
export function withMarks(config, board) {
  if (board.marked.has(config)) {
    return;
  }
  board.marked.add(config);
  config.addHook('draw', (plot) =>
    inside(plot, (ctx, bbox, x) => {
      ctx.lineWidth = window.devicePixelRatio;
      ctx.setLineDash([5, 5]);
      for (const { time, colour } of board.marks) {
        ctx.strokeStyle = colour;
        ctx.beginPath();
        ctx.moveTo(x(time), bbox.top);
        ctx.lineTo(x(time), bbox.top + bbox.height);
        ctx.stroke();
      }
    })
  );
}
