const held = JSON.parse(document.getElementById("what-if-data").textContent);
const {point, size, columns, levers} = held.numbers;
const panels = [...document.querySelectorAll(".what-if")];
const NPV = 0, ROI = 1, PAYBACK = 2;
const LOWER = 0.05, UPPER = 0.95;
const PAUSE = 40, SILENCE = 700;
const values = levers.map(lever => lever.value);

const bytes = Uint8Array.from(atob(held.numbers.draws), sign => sign.charCodeAt(0));
const view = new DataView(bytes.buffer);
const drawn = Float64Array.from({length: bytes.length / 4}, (_, place) => view.getFloat32(4 * place, true));

const inputsAt = chosen => {
  const x = point.slice(), by = new Map();
  levers.forEach((lever, k) => {
    if (chosen[k] === lever.value) return;
    for (const j of lever.members) {
      x[j] = lever.value ? (point[j] * chosen[k]) / lever.value : point[j] + chosen[k];
      by.set(j, lever);
    }
  });
  return {x, by};
};
const cut = (value, lever) => Math.min(Math.max(value, lever.floor ?? -Infinity), lever.ceiling ?? Infinity);
const drawsAt = chosen => {
  const {x, by} = inputsAt(chosen);
  const follow = columns.map(j => {
    const lever = by.get(j);
    if (!lever) return drawn => drawn;
    const ratio = x[j] / point[j], difference = x[j] - point[j];
    if (lever.moves === "scale" && point[j]) return drawn => cut(drawn * ratio, lever);
    return drawn => cut(drawn + difference, lever);
  });
  return Float64Array.from({length: size}, (_, draw) => {
    columns.forEach((j, column) => { x[j] = follow[column](drawn[column * size + draw]); });
    return ledger(x)[NPV];
  }).sort();
};
const quantile = (sorted, level) => {
  const place = level * (sorted.length - 1), below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
};
const spreadAt = chosen => {
  const npv = drawsAt(chosen);
  return {low: quantile(npv, LOWER), high: quantile(npv, UPPER), odds: npv.filter(value => value > 0).length / size};
};
const first = spreadAt(values);
const anchored = chosen => {
  const found = spreadAt(chosen);
  const moved = key => held.numbers[key] + (found[key] - first[key]);
  return {low: moved("low"), high: moved("high"), odds: Math.min(Math.max(moved("odds"), 0), 1)};
};
const turnOf = (chosen, k) => {
  const {start, end} = levers[k], steps = 24;
  const at = value => ledger(inputsAt(chosen.map((other, place) => (place === k ? value : other))).x)[NPV];
  const grid = Array.from({length: steps + 1}, (_, step) => start + ((end - start) * step) / steps);
  const turns = [];
  for (let step = 0; step < steps; step++) {
    let [low, high] = [grid[step], grid[step + 1]];
    const below = at(low) < 0;
    if (below === at(high) < 0) continue;
    for (let n = 0; n < 40; n++) {
      const middle = (low + high) / 2;
      if (at(middle) < 0 === below) low = middle; else high = middle;
    }
    turns.push((low + high) / 2);
  }
  return turns.sort((a, b) => Math.abs(a - chosen[k]) - Math.abs(b - chosen[k]))[0] ?? null;
};

const filled = (text, fields) => text.replace(/\{(\w+)\}/g, (_, name) => fields[name]);
const even = value => (Math.abs(value % 1) === 0.5 ? 2 * Math.round(value / 2) : Math.round(value));
const grouped = (value, decimals) => {
  const [whole, rest] = value.toFixed(decimals).split(".");
  return whole.replace(/\B(?=(\d{3})+$)/g, ",") + (rest ? `.${rest}` : "");
};
const writer = words => {
  const number = (shape, value) => {
    if (!Number.isFinite(value)) return words.missing;
    const shown = shape.step ? even((value * shape.factor) / shape.step) * shape.step : value * shape.factor;
    const digits = grouped(Math.abs(shown), shape.decimals);
    const isZero = !/[1-9]/.test(digits);
    if (isZero && shape.keepsSign && value) return number(small(shape, value), value);
    const sign = !isZero && shown < 0 ? "\u2212" : "";
    return sign + filled(shape.number, {n: digits + shape.suffix});
  };
  const small = (shape, value) => {
    const step = Math.max(10 ** Math.floor(Math.log10(Math.abs(value))), words.cent);
    const size = Math.round(Math.abs(value) / step) * step;
    const fits = words.scales.find(([scale]) => size >= (scale === 1e3 ? words.thousand : scale)) ?? [1, ""];
    const scaled = step / fits[0];
    const decimals = Math.min(Math.max(0, -Math.floor(Math.log10(scaled) + 1e-9)), 6);
    return {...shape, factor: 1 / fits[0], step: scaled, decimals, suffix: fits[1], keepsSign: false};
  };
  const whole = (shape, value) => {
    const text = number(shape, value);
    return text === words.missing ? text : filled(text === "1" ? shape.single : shape.unit, {n: text});
  };
  const between = (shape, low, high) => {
    const ends = [number(shape, low), number(shape, high)];
    const both = ends[0] === ends[1] ? ends[0] : filled(words.span, {low: ends[0], high: ends[1]});
    return filled(shape.unit, {n: both});
  };
  const odds = value => {
    const {enough} = held.numbers;
    if (value < 0.01 && enough >= 0.01) return words.below;
    if (value > 0.99 && enough <= 0.99) return words.above;
    const shown = (share, decimals) => (even(100 * share * 10 ** decimals) / 10 ** decimals).toFixed(decimals) + "%";
    for (let decimals = 0; decimals < 6; decimals++) {
      if (value === enough || shown(value, decimals) !== shown(enough, decimals)) return shown(value, decimals);
    }
    return shown(value, 5);
  };
  return {number, whole, between, odds};
};

const opened = panel => {
  const words = held.words[panel.id], write = writer(words);
  const knobs = [...panel.querySelectorAll(".knob")].map((box, k) => ({
    box,
    slider: box.querySelector("input[type=range]"),
    field: box.querySelector("input[type=number]"),
    turn: box.querySelector(".turn"),
    mark: box.querySelector(".mark"),
    initial: box.querySelector("input[type=number]").defaultValue,
    shape: words.levers[k],
  }));
  const results = [...panel.querySelectorAll(".yours")];
  const status = panel.querySelector("[role=status]");
  let speech = 0;

  const texts = (now, spread) => [
    write.whole(words.forms.npv, now[NPV]),
    write.between(words.forms.range, spread.low, spread.high),
    write.odds(spread.odds),
    write.whole(words.forms.roi, now[ROI]),
    Number.isFinite(now[PAYBACK]) ? write.whole(words.forms.payback, now[PAYBACK]) : words.open,
  ];
  const showKnob = (k, source) => {
    const {box, slider, field, initial, shape} = knobs[k], lever = levers[k];
    const same = values[k] === lever.value;
    const text = same ? initial : (values[k] * lever.scale).toFixed(lever.decimals);
    if (source !== slider) slider.value = text;
    if (source !== field) field.value = text;
    slider.setAttribute("aria-valuetext", write.whole(shape, values[k]));
    box.classList.toggle("moved", !same);
  };
  const showTurn = (k, turn) => {
    const {turn: said, mark, shape} = knobs[k], {start, end} = levers[k];
    said.textContent = turn === null ? words.no_turn : filled(words.turn, {value: write.number(shape, turn)});
    const share = turn === null ? -1 : (turn - start) / (end - start);
    mark.hidden = share < 0 || share > 1;
    mark.style.setProperty("--at", String(share));
  };
  const show = (now, spread, turns, isSame) => {
    const said = texts(now, spread);
    results.forEach((cell, place) => { cell.textContent = said[place]; });
    turns.forEach((turn, k) => showTurn(k, turn));
    panel.classList.toggle("moved", !isSame);
    const [npv, range, odds, roi, payback] = said;
    const sentence = isSame ? words.same : filled(words.changed, {npv, range, odds, roi, payback});
    clearTimeout(speech);
    speech = setTimeout(() => { if (status.textContent !== sentence) status.textContent = sentence; }, SILENCE);
  };
  knobs.forEach(({slider, field, initial}, k) => {
    const take = source => {
      const typed = source.value.trim(), lever = levers[k];
      const number = Number(typed) / lever.scale;
      if (typed === "" || !Number.isFinite(number)) return;
      values[k] = typed === initial ? lever.value : Math.min(Math.max(number, lever.start), lever.end);
      moved(k, source);
    };
    slider.addEventListener("input", () => take(slider));
    field.addEventListener("input", () => take(field));
    field.addEventListener("change", () => showKnob(k, null));
  });
  panel.querySelector("button").addEventListener("click", () => {
    levers.forEach((lever, k) => { values[k] = lever.value; });
    levers.forEach((_, k) => moved(k, null));
  });
  return {panel, showKnob, show};
};

let waiting = 0;
const moved = (k, source) => {
  views.forEach(view => view.showKnob(k, source));
  clearTimeout(waiting);
  waiting = setTimeout(settle, PAUSE);
};
const settle = () => {
  const isSame = values.every((value, k) => value === levers[k].value);
  const now = ledger(inputsAt(values).x);
  const spread = anchored(values);
  const turns = levers.map((lever, k) => (isSame ? lever.turn : turnOf(values, k)));
  views.forEach(view => view.show(now, spread, turns, isSame));
};
const views = panels.map(opened);
levers.forEach((_, k) => views.forEach(view => view.showKnob(k, null)));
settle();
panels.forEach(panel => {
  panel.querySelector(".on").hidden = false;
  panel.querySelector(".off").hidden = true;
});
