// A dashboard as Grafana lays it out: variables and links at the top, then the grid of panels.
import { GlobalStyles, PortalContainer, ThemeContext } from '@grafana/ui';
import { Panel } from './panel.jsx';

const COLUMNS = 24;
const CELL = 30;
const GAP = 8;
const MARGIN = 16;

// The panels of a folded row are not shown, and what is below moves up. With `unfolded` they are.
export function arranged(panels, unfolded) {
  const shown = [];
  let up = 0;
  for (const panel of panels) {
    const { x, y, w, h } = panel.gridPos;
    const inside = panel.type === 'row' ? (panel.panels ?? []) : [];
    shown.push({ panel, folded: inside.length > 0 && !unfolded, at: { x, y: y - up, w, h } });
    if (inside.length > 0 && unfolded) {
      shown.push(...inside.map((each) => ({ panel: each, at: { ...each.gridPos, y: each.gridPos.y - up } })));
    } else if (inside.length > 0) {
      up += Math.max(...inside.map(({ gridPos }) => gridPos.y + gridPos.h)) - y - h;
    }
  }
  return shown;
}

// Pixels of a place in the grid, on a page of this width.
export function boxOf({ x, y, w, h }, pageWidth) {
  const column = (pageWidth - 2 * MARGIN - (COLUMNS - 1) * GAP) / COLUMNS;
  return {
    left: x * (column + GAP),
    top: y * (CELL + GAP),
    width: w * (column + GAP) - GAP,
    height: h * (CELL + GAP) - GAP,
  };
}

export function Page({ board, shown, loaded }) {
  const { theme, width } = board;
  const bottom = Math.max(...shown.map(({ at }) => at.y + at.h)) * (CELL + GAP);
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <div
        style={{
          width,
          padding: MARGIN,
          background: theme.colors.background.canvas,
          color: theme.colors.text.primary,
          fontFamily: theme.typography.fontFamily,
        }}
      >
        <Top board={board} />
        <div style={{ position: 'relative', height: bottom }}>
          {shown.map(({ panel, folded, at }) => {
            const box = boxOf(at, width);
            return (
              <div key={panel.id} style={{ position: 'absolute', ...box }}>
                {panel.type === 'row' ? (
                  <Heading text={panel.title} folded={folded} />
                ) : (
                  <Panel
                    panel={panel}
                    board={board}
                    loaded={loaded.get(panel.id)}
                    width={box.width}
                    height={box.height}
                  />
                )}
              </div>
            );
          })}
        </div>
        <PortalContainer />
      </div>
    </ThemeContext.Provider>
  );
}

function Heading({ text, folded }) {
  const style = { fontSize: 18, fontWeight: 500, lineHeight: `${CELL}px` };
  return <div style={style}>{`${folded ? '›' : '⌄'} ${text}`}</div>;
}

function Top({ board }) {
  const { theme, variables, range, title, links } = board;
  const line = { display: 'flex', flexWrap: 'wrap', gap: GAP, marginBottom: 12, fontSize: 12 };
  const pill = {
    padding: '6px 8px',
    border: `1px solid ${theme.colors.border.medium}`,
    borderRadius: 2,
    whiteSpace: 'nowrap',
  };
  const name = { ...pill, background: theme.colors.background.secondary };
  const minutes = Math.round((range.to - range.from) / 60_000);
  return (
    <>
      <div style={{ ...line, justifyContent: 'space-between', fontSize: 14 }}>
        <span style={{ fontWeight: 500 }}>{title}</span>
        <span style={{ ...pill, fontSize: 12 }}>Last {minutes} minutes</span>
      </div>
      <div style={line}>
        {variables.list.map((variable) => (
          <span key={variable.name} style={{ display: 'inline-flex' }}>
            <span style={name}>{variable.label ?? variable.name}</span>
            <span style={pill}>{variables.texts[variable.name] || '\u00a0'}</span>
          </span>
        ))}
        <span style={{ flex: 1 }} />
        {links.map((link) => (
          <span key={link.title} style={pill}>
            {link.title}
          </span>
        ))}
      </div>
    </>
  );
}
