// Queries Prometheus, and turns its answers into the data frames that Grafana's data source makes.
import { FieldType } from '@grafana/data';

export class Prometheus {
  constructor(address) {
    this.address = address;
    this.asked = []; // { query, milliseconds, error } of each request
  }

  async values(label, selector, range) {
    const form = new URLSearchParams({ start: range.from / 1000, end: range.to / 1000 });
    if (selector) {
      form.append('match[]', selector);
    }
    return this.#request(`label/${label}/values?${form}`, {}, selector || label);
  }

  async at(query, time) {
    const form = new URLSearchParams({ query, time: time / 1000 });
    return (await this.#request('query', { method: 'POST', body: form }, query)).result;
  }

  // Grafana moves both ends of the range to multiples of the step.
  async over(query, range, step) {
    const [start, end] = [range.from, range.to].map((t) => (Math.floor(t / step) * step) / 1000);
    const form = new URLSearchParams({ query, start, end, step: step / 1000 });
    return (await this.#request('query_range', { method: 'POST', body: form }, query)).result;
  }

  async #request(path, options, query) {
    const began = performance.now();
    const entry = { query };
    this.asked.push(entry);
    const answer = await (await fetch(`${this.address}/api/v1/${path}`, options)).json();
    entry.milliseconds = Math.round(performance.now() - began);
    if (answer.status !== 'success') {
      entry.error = answer.error;
      throw new Error(`${answer.error}: ${query}`);
    }
    return answer.data;
  }
}

const SPECIAL = { '+Inf': Infinity, '-Inf': -Infinity, NaN: NaN };
const numberOf = (text) => (text in SPECIAL ? SPECIAL[text] : Number(text));

function nameOf(target, labels, query) {
  if (target.legendFormat && target.legendFormat !== '__auto') {
    return target.legendFormat.replace(/{{\s*(.+?)\s*}}/g, (_, label) => labels[label] ?? '');
  }
  const { __name__: metric = '', ...others } = labels;
  const pairs = Object.keys(others).sort().map((label) => `${label}="${others[label]}"`);
  return metric || pairs.length ? metric + (pairs.length ? `{${pairs.join(', ')}}` : '') : query;
}

// A frame for each series, with a column of times and one of values.
export function seriesFrames(result, target, query, step) {
  return result.map(({ metric, value, values = [value] }) => {
    const name = nameOf(target, metric, query);
    const time = {
      name: 'Time',
      type: FieldType.time,
      config: step ? { interval: step } : {},
      values: values.map(([seconds]) => Math.round(seconds * 1000)),
    };
    const number = {
      name: 'Value',
      type: FieldType.number,
      labels: metric,
      config: { displayNameFromDS: name },
      values: values.map(([, text]) => numberOf(text)),
    };
    return { refId: target.refId, name, length: values.length, fields: [time, number] };
  });
}

// A frame for each query with a row for each series, and its labels as columns. A query without an
// answer makes a frame without rows, so that the others are called "Value #A" all the same.
export function tableFrames(framesByQuery) {
  const queries = Object.entries(framesByQuery);
  if (queries.length === 1 && queries[0][1].length === 0) {
    return [];
  }
  return queries.map(([refId, frames]) => {
    const labels = new Set(frames.flatMap(({ fields }) => Object.keys(fields[1].labels).sort()));
    const column = (name, type, config, value) => ({
      name,
      type,
      config,
      values: frames.map(({ fields }) => value(fields)),
    });
    const fields = [
      column('Time', FieldType.time, {}, ([time]) => time.values[0]),
      ...[...labels].map((label) =>
        column(label, FieldType.string, { filterable: true }, ([, number]) => number.labels[label] ?? '')
      ),
      column(
        queries.length > 1 ? `Value #${refId}` : 'Value',
        FieldType.number,
        {},
        ([, number]) => number.values[0]
      ),
    ];
    return { refId, length: frames.length, fields };
  });
}

// One frame with a column for each bucket. Prometheus counts in each bucket also what is in those below it.
export function bucketFrames(frames) {
  if (frames.length === 0) {
    return [];
  }
  const limit = ({ fields }) => numberOf(fields[1].labels.le);
  const ordered = [...frames].sort((a, b) => limit(a) - limit(b));
  const times = ordered[0].fields[0].values;
  let below = times.map(() => 0);
  const columns = ordered.map(({ name, fields: [time, number] }) => {
    const byTime = new Map(time.values.map((at, index) => [at, number.values[index]]));
    const counts = times.map((at, index) => byTime.get(at) ?? below[index]);
    const own = counts.map((count, index) => Math.max(count - below[index], 0));
    below = counts;
    return { ...number, name, values: own.map((count) => (count < 1e-9 ? 0 : count)) };
  });
  return [{ length: times.length, fields: [ordered[0].fields[0], ...columns] }];
}
