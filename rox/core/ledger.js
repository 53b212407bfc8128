const pow = (a, b) => a === 1 || (a === -1 && Math.abs(b) === Infinity) ? 1 : Math.pow(a, b);
const sum = (months, at) => {
  let total = 0;
  for (let m = 0; m < months; m++) total += at(m);
  return total;
};
const lowest = row => row.reduce((a, b) => Math.min(a, b));
const highest = row => row.reduce((a, b) => Math.max(a, b));

const signOf = (row, logRate) => Math.sign(worth(row, logRate)[0]);
const worth = (row, logRate) => {
  const centre = logRate < 0 ? row.length - 1 : 0;
  let value = 0, slope = 0;
  row.forEach((flow, t) => {
    const term = flow * Math.exp(-logRate * (t - centre));
    value += term;
    slope -= term * t;
  });
  return [value, slope];
};
const turnsOf = signs => {
  const known = signs.filter(sign => sign !== 0);
  return known.filter((sign, place) => place > 0 && sign !== known[place - 1]).length;
};
const WIDEST = 40, NEAR = 1e-4, STEPS = 500;
const half = Array.from({length: STEPS}, (_, k) => WIDEST * Math.pow(NEAR / WIDEST, k / (STEPS - 1)));
const SCAN = [...half.map(rate => -rate), 0, ...half.slice().reverse()];
const bisected = (row, from, to) => {
  const atFrom = signOf(row, from);
  if (!(atFrom * signOf(row, to) < 0)) return NaN;
  let low = from, high = to;
  for (let k = 0; k < 40; k++) {
    const middle = (low + high) / 2;
    if (signOf(row, middle) === atFrom) low = middle; else high = middle;
  }
  let root = (low + high) / 2;
  for (let k = 0; k < 3; k++) {
    const [value, slope] = worth(row, root);
    const step = slope !== 0 ? value / slope : 0;
    if (Math.abs(step) < 1e-6) root -= step;
  }
  return root;
};
const irr = flows => {
  const row = Array.from(flows);
  if (!row.every(Number.isFinite)) return NaN;
  const turns = turnsOf(row.map(Math.sign));
  if (turns === 0) return NaN;
  if (turns === 1) return Math.expm1(bisected(row, -WIDEST, WIDEST));
  const signs = SCAN.map(rate => signOf(row, rate));
  if (turnsOf(signs) !== 1) return NaN;
  const first = signs.find(sign => sign !== 0);
  return Math.expm1(bisected(row, SCAN[signs.lastIndexOf(first)], SCAN[signs.indexOf(-first)]));
};
