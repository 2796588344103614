// The variables of a dashboard: what can be chosen, what is chosen, and their places in queries.

const QUERY = /^label_values\((?:(.*),)?\s*(\w+)\)$/s;
const PLACE = /\$\{(\w+)(?::\w+)?\}|\$(\w+)/g;
const ALL = '$__all';

export class Variables {
  // `chosen` has a value, or a list of values, by the name of a variable.
  constructor(list, chosen) {
    this.list = list.filter((each) => each.type !== 'datasource');
    this.options = {};
    this.values = { ...chosen };
    this.texts = {};
  }

  // A variable's query may use the variables before it.
  async resolve(prometheus, range) {
    for (const variable of this.list) {
      const { name, query } = variable;
      const [, selector, label] = QUERY.exec(query.query ?? query);
      const options = await prometheus.values(label, selector && this.fill(selector), range);
      this.options[name] = options.sort((a, b) => a.localeCompare(b));
      const known = [this.values[name] ?? []].flat().filter((value) => options.includes(value));
      if (known.length > 0) {
        this.values[name] = known;
      } else {
        this.values[name] = variable.includeAll ? ALL : options.slice(0, 1);
      }
      this.texts[name] = this.values[name] === ALL ? 'All' : this.values[name].join(' + ');
    }
  }

  // `more` are Grafana's own variables, such as $__range.
  fill(text, more = {}) {
    return text.replace(PLACE, (whole, braced, bare) => {
      const name = braced ?? bare;
      return more[name] ?? this.#matcher(name) ?? whole;
    });
  }

  #matcher(name) {
    const variable = this.list.find((each) => each.name === name);
    const value = this.values[name];
    if (!variable || value === undefined) {
      return undefined;
    }
    if (value === ALL) {
      return variable.allValue ?? `(${this.options[name].map(inPattern).join('|')})`;
    }
    if (!variable.multi && !variable.includeAll) {
      return inText(value[0] ?? '');
    }
    const patterns = value.map(inPattern);
    return patterns.length === 1 ? patterns[0] : `(${patterns.join('|')})`;
  }
}

const inText = (value) => value.replace(/[\\'"]/g, '\\$&');
const inPattern = (value) => inText(value.replace(/[\\^$*+?.()|[\]{}]/g, '\\$&'));
