// One panel: Grafana's frame around Grafana's own time series, stat or table, or around ours.
import { useMemo } from 'react';
import {
  applyNullInsertThreshold,
  FieldType,
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
} from '@grafana/data';
import { BigValue, PanelChrome, Table, TimeSeries, VizRepeater } from '@grafana/ui';
import { Heat, States, withMarks } from './canvas.jsx';
import { fieldConfigOf, replaceVariables, withSettings } from './fields.js';

const KINDS = {
  timeseries: Lines,
  stat: Stat,
  table: Rows,
  'state-timeline': States,
  heatmap: Heat,
};
const SAYS_ITSELF = ['stat']; // what it shows without data

export function Panel({ panel, board, loaded, width, height }) {
  const fieldConfig = useMemo(() => fieldConfigOf(panel), [panel]);
  const frames = useMemo(
    () => withSettings(loaded.frames ?? [], fieldConfig, board.theme),
    [loaded, fieldConfig]
  );
  const Kind = KINDS[panel.type];
  const empty = !SAYS_ITSELF.includes(panel.type) && !frames.some((frame) => frame.length > 0);
  const content = (inner) => {
    if (loaded.error) {
      return <Note text={loaded.error} />;
    }
    if (empty) {
      return <Note text={fieldConfig.defaults.noValue ?? 'No data'} />;
    }
    const given = { panel, board, frames, fieldConfig, step: loaded.step };
    return <Kind {...given} {...inner} />;
  };
  return (
    <PanelChrome title={panel.title} width={width} height={height}>
      {(innerWidth, innerHeight) => content({ width: innerWidth, height: innerHeight })}
    </PanelChrome>
  );
}

function Note({ text }) {
  const style = { display: 'grid', placeItems: 'center', width: '100%', height: '100%' };
  return <div style={{ ...style, fontSize: 18 }}>{text}</div>;
}

function Lines({ panel, board, frames, width, height }) {
  const drawn = useMemo(() => frames.map((frame) => withGaps(frame, board.range)), [frames]);
  return (
    <TimeSeries
      frames={drawn}
      structureRev={1}
      timeRange={board.timeRange}
      timeZone="utc"
      legend={panel.options.legend}
      options={panel.options}
      width={width}
      height={height}
    >
      {(config) => {
        withMarks(config, board);
        return null;
      }}
    </TimeSeries>
  );
}

// A value that is not finite is a gap, and so is a missing one.
function withGaps(frame, range) {
  const fields = frame.fields.map((field) => ({
    ...field,
    state: { ...field.state },
    values:
      field.type === FieldType.number
        ? field.values.map((value) => (Number.isFinite(value) ? value : null))
        : field.values,
  }));
  return applyNullInsertThreshold({
    frame: { ...frame, fields },
    refFieldPseudoMin: range.from,
    refFieldPseudoMax: range.to,
  });
}

function Stat({ panel, board, frames, fieldConfig, width, height }) {
  const { options } = panel;
  const values = () =>
    getFieldDisplayValues({
      data: frames,
      fieldConfig,
      reduceOptions: options.reduceOptions,
      replaceVariables,
      sparkline: options.graphMode !== 'none',
      theme: board.theme,
      timeZone: 'utc',
    });
  return (
    <VizRepeater
      source={frames}
      getValues={values}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      orientation={options.orientation ?? 'auto'}
      autoGrid
      itemSpacing={3}
      renderCounter={0}
      width={width}
      height={height}
      renderValue={({ value, alignmentFactors, width: itemWidth, height: itemHeight, count }) => (
        <BigValue
          value={value.display}
          sparkline={value.sparkline}
          alignmentFactors={alignmentFactors}
          count={count}
          text={options.text}
          textMode={options.textMode}
          colorMode={options.colorMode}
          graphMode={options.graphMode}
          justifyMode={options.justifyMode}
          wideLayout={options.wideLayout}
          theme={board.theme}
          width={itemWidth}
          height={itemHeight}
        />
      )}
    />
  );
}

function Rows({ panel, board, frames: [frame], fieldConfig, width, height }) {
  const { options = {} } = panel;
  return (
    <Table
      data={frame}
      fieldConfig={fieldConfig}
      initialSortBy={options.sortBy}
      cellHeight={options.cellHeight ?? 'sm'}
      footerOptions={options.footer}
      noHeader={options.showHeader === false}
      columnMinWidth={150}
      resizable
      timeRange={board.timeRange}
      getActions={() => []}
      replaceVariables={replaceVariables}
      width={width}
      height={height}
    />
  );
}
