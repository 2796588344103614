// Bundles the viewer into dist/: one script, one style sheet and the page that loads them.
import { build } from 'esbuild';
import { copyFile } from 'node:fs/promises';

// No panel has an editor for code, and the editor is larger than everything else.
const withoutEditor = {
  name: 'without-editor',
  setup(bundle) {
    bundle.onResolve({ filter: /^(@monaco-editor\/react|monaco-editor)/ }, ({ path }) => ({
      path,
      namespace: 'without-editor',
    }));
    bundle.onLoad({ filter: /.*/, namespace: 'without-editor' }, () => ({
      contents: `
        const Nothing = () => null;
        export default Nothing;
        export const Editor = Nothing, DiffEditor = Nothing;
        export const loader = { config: Nothing, init: async () => undefined };`,
    }));
  },
};

// Grafana's ES modules need its own build; the CommonJS files are complete.
const grafana = Object.fromEntries(
  ['data', 'schema', 'ui'].map((part) => [
    `@grafana/${part}`,
    `./node_modules/@grafana/${part}/dist/cjs/index.cjs`,
  ])
);

await build({
  entryPoints: ['src/main.jsx'],
  outfile: 'dist/main.js',
  bundle: true,
  minify: true,
  format: 'iife',
  jsx: 'automatic',
  alias: grafana,
  define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
  loader: { '.svg': 'text', '.png': 'dataurl', '.woff': 'dataurl', '.woff2': 'dataurl' },
  plugins: [withoutEditor],
  logLevel: 'warning',
});
await copyFile('src/index.html', 'dist/index.html');
