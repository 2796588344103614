// Settings of fields: what a kind of panel starts with, and which settings can be overridden.
import { applyFieldOverrides, FieldType } from '@grafana/data';

const isNumber = (field) => field.type === FieldType.number;
const COMMON = ['displayName', 'noValue', 'mappings', 'links', 'filterable', 'description'];
const OF_NUMBERS = ['unit', 'decimals', 'min', 'max', 'color', 'thresholds'];
const OF_PANELS = [
  ...['drawStyle', 'lineInterpolation', 'lineWidth', 'lineStyle', 'fillOpacity', 'gradientMode'],
  ...['spanNulls', 'insertNulls', 'showPoints', 'pointSize', 'stacking', 'hideFrom', 'transform'],
  ...['axisPlacement', 'axisLabel', 'axisWidth', 'axisSoftMin', 'axisSoftMax', 'axisGridShow'],
  ...['axisColorMode', 'axisBorderShow', 'scaleDistribution', 'thresholdsStyle', 'fillBelowTo'],
  ...['width', 'minWidth', 'align', 'cellOptions', 'hidden', 'filterable', 'inspect'],
];

const setting = (id, more) => ({
  id,
  path: id,
  name: id,
  settings: {},
  process: (value) => value,
  shouldApply: () => true,
  ...more,
});
const SETTINGS = [
  ...COMMON.map((id) => setting(id)),
  ...OF_NUMBERS.map((id) => setting(id, { shouldApply: isNumber })),
  ...OF_PANELS.map((name) => setting(`custom.${name}`, { path: name, isCustom: true })),
];
const registry = {
  list: () => SETTINGS,
  get: (id) => SETTINGS.find((each) => each.id === id),
  getIfExists: (id) => SETTINGS.find((each) => each.id === id),
};

const LINE = {
  drawStyle: 'line',
  lineInterpolation: 'linear',
  lineWidth: 1,
  fillOpacity: 0,
  gradientMode: 'none',
  spanNulls: false,
  insertNulls: false,
  showPoints: 'auto',
  pointSize: 5,
  barAlignment: 0,
  stacking: { mode: 'none', group: 'A' },
  axisPlacement: 'auto',
  axisLabel: '',
  axisColorMode: 'text',
  axisBorderShow: false,
  scaleDistribution: { type: 'linear' },
  hideFrom: { tooltip: false, viz: false, legend: false },
  thresholdsStyle: { mode: 'off' },
};
const AT_FIRST = {
  timeseries: { color: { mode: 'palette-classic' }, custom: LINE },
  stat: { color: { mode: 'thresholds' } },
  table: {
    color: { mode: 'thresholds' },
    custom: { align: 'auto', cellOptions: { type: 'auto' }, inspect: false },
  },
  'state-timeline': { color: { mode: 'continuous-GrYlRd' } },
};
const THRESHOLDS = {
  mode: 'absolute',
  steps: [
    { value: null, color: 'green' },
    { value: 80, color: 'red' },
  ],
};

// The first threshold has no value in a file, and the lowest one in memory.
function lowest({ mode, steps }) {
  return { mode, steps: steps.map((step) => ({ ...step, value: step.value ?? -Infinity })) };
}

export function fieldConfigOf(panel) {
  const given = panel.fieldConfig?.defaults ?? {};
  const first = AT_FIRST[panel.type] ?? {};
  return {
    defaults: {
      ...first,
      ...given,
      thresholds: lowest(given.thresholds ?? THRESHOLDS),
      custom: { ...first.custom, ...given.custom },
    },
    overrides: panel.fieldConfig?.overrides ?? [],
  };
}

export function withSettings(frames, fieldConfig, theme) {
  return applyFieldOverrides({
    data: frames,
    fieldConfig,
    fieldConfigRegistry: registry,
    replaceVariables,
    theme,
    timeZone: 'utc',
  });
}

// Links are not followed in a picture.
export const replaceVariables = (text) => text;
