"""How the report looks: light or dark as the reader's system is, on a wide page or a phone."""

from __future__ import annotations

__all__ = ["STYLE"]

STYLE = """
:root {
  --ink: #1c2024; --soft: #5a6570; --page: #ffffff; --card: #f5f6f8; --line: #d9dde2; --link: #0b63b5;
  --good: #1a7f4b; --fair: #8a6100; --bad: #b42318; --warn: #fff4d6;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e6e9ec; --soft: #9ba6b1; --page: #14171a; --card: #1d2126; --line: #343b43; --link: #7ab7f5;
    --good: #5fcf95; --fair: #e0b34d; --bad: #ff8a7d; --warn: #3a3016;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.2rem 1rem 3rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0.4rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2rem 0 0.6rem; border-bottom: 1px solid var(--line); padding-bottom: 0.3rem; }
h3 { font-size: 1.05rem; margin: 0 0 0.4rem; }
header p, footer, small { color: var(--soft); }
footer { margin-top: 2.5rem; font-size: 0.85rem; }
article { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 1rem; margin: 0 0 1rem; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); gap: 0.5rem 1.5rem; }
figure { margin: 0; }
svg { width: 100%; max-width: 30rem; height: auto; display: block; }
svg text { font-family: system-ui, sans-serif !important; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.92rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 0.4rem 0.8rem 0.4rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; font-size: 0.85rem; }
td { white-space: nowrap; }
.chip { display: inline-flex; align-items: center; gap: 0.3rem; margin-right: 0.7rem; }
.chip i { width: 0.7rem; height: 0.7rem; border-radius: 50%; }
.strength { font-weight: 600; white-space: nowrap; }
h3 .strength { font-size: 0.85rem; margin-left: 0.5rem; }
.strong { color: var(--good); } .moderate { color: var(--fair); } .weak, .none { color: var(--bad); }
.warning { background: var(--warn); border-radius: 8px; padding: 0.7rem 1rem; }
.criteria { list-style: none; padding: 0; margin: 0.4rem 0 0.8rem; font-size: 0.92rem; }
.criteria li { padding-left: 1.4rem; text-indent: -1.4rem; margin-bottom: 0.2rem; }
.criteria li > span:first-child { display: inline-block; width: 1.4rem; text-indent: 0; font-weight: 700; }
.met > span:first-child { color: var(--good); } .unmet > span:first-child { color: var(--bad); }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 0.8rem; overflow-x: auto; }
pre, code { font-family: ui-monospace, monospace; font-size: 0.85rem; }
@media (max-width: 44rem) {
  .stack thead { display: none; }
  .stack tr { display: block; border-bottom: 1px solid var(--line); padding: 0.4rem 0; }
  .stack td { display: flex; border: 0; padding: 0.1rem 0; white-space: normal; }
  .stack td::before { content: attr(data-head); color: var(--soft); flex: 0 0 9.5rem; font-size: 0.85rem; }
  .stack td:first-child { display: block; }
  .stack td:first-child::before { content: none; }
}
summary { cursor: pointer; margin: 0.6rem 0; }
"""
