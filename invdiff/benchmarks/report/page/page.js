"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const colors = ["#3d83d6", "#dd7a33", "#37a372", "#c94f7c", "#8a6fd1", "#1fa3a8", "#c39a1d", "#8d7568"];
  const symbols = ["circle", "square", "diamond", "triangle-up", "cross", "pentagon", "star"];
  const dashes = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid"];
  // One colour for a solver, whatever its options; symbols and dashes tell its variants, and solvers beyond the colours.
  const place = new Map(data.labels.map((label, i) => [label, i]));
  const bases = [...new Set(data.labels.map((label) => data.solvers[label]))];
  const style = (label) => {
    const base = bases.indexOf(data.solvers[label]), kin = data.labels.filter((l) => data.solvers[l] === data.solvers[label]);
    const round = (Math.floor(base / colors.length) + 2 * kin.indexOf(label)) % symbols.length;
    return { color: colors[base % colors.length], symbol: symbols[round], dash: dashes[round] };
  };
  const number = (value, digits = 3) =>
    value === null || value === undefined ? "–" : Math.abs(value) >= 1e5 ? value.toExponential(1) : value.toFixed(digits);
  const titles = new Map(data.tasks.map((t) => [t.name, t.title]));
  document.documentElement.classList.add("js");

  // Tables ---------------------------------------------------------------------------------------------------------
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      head.tabIndex = 0;
      const sort = () => {
        const low = head.hasAttribute("data-low") || head.classList.contains("name");
        const up = head.getAttribute("aria-sort") ? head.getAttribute("aria-sort") !== "ascending" : low;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const key = (row) => {
          const cell = row.cells[column], text = cell.dataset.value;
          return text === undefined ? cell.textContent : text === "" ? null : Number(text);
        };
        const rows = [...table.tBodies[0].rows].sort((a, b) => {
          const x = key(a), y = key(b);
          if (x === null || y === null) return (x === null) - (y === null); // what has no figure comes last
          return (x < y ? -1 : x > y ? 1 : 0) * (up ? 1 : -1);
        });
        table.tBodies[0].append(...rows);
      };
      head.addEventListener("click", sort);
      head.addEventListener("keydown", (event) => event.key === "Enter" && sort());
    });
  }

  // Plots ----------------------------------------------------------------------------------------------------------
  const font = getComputedStyle(document.body).fontFamily;
  const narrow = () => window.innerWidth < 640;
  const layout = (x, y, more = {}) => ({
    autosize: true, height: narrow() ? 460 : more.below ? 520 : 480, font: { family: font, size: 13 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 58, r: 18, t: 18, b: 52 }, hovermode: "closest", hoverlabel: { font: { family: font } },
    xaxis: { title: { text: x }, zeroline: false, automargin: true, ...more.xaxis },
    yaxis: { title: { text: y }, zeroline: false, automargin: true, ...more.yaxis },
    legend: narrow() || more.below ? { orientation: "h", y: narrow() ? -0.22 : -0.16, font: { size: 11 } } : { font: { size: 12 } },
    shapes: more.shapes || [], annotations: more.annotations || [], showlegend: more.showlegend ?? true,
  });
  // Plotly labels only powers of ten on a short logarithmic axis.
  const logarithmic = (values) => {
    const low = Math.log10(Math.min(...values)), high = Math.log10(Math.max(...values)), pad = Math.max(0.08, (high - low) * 0.09);
    const steps = high - low > 3 ? [1] : high - low > 1.2 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 8], ticks = [];
    for (let e = Math.floor(low - pad); e <= Math.ceil(high + pad); e++) ticks.push(...steps.map((m) => Number((m * 10 ** e).toPrecision(3))));
    return values.length ? { type: "log", range: [low - pad, high + 1.6 * pad], tickvals: ticks, ticktext: ticks.map(String) } : { type: "log" };
  };
  const config = { responsive: true, displaylogo: false, ...(narrow() ? { displayModeBar: false } : {}), modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
  const draw = (id, traces, shape) => window.Plotly && Plotly.react(id, traces, shape, config);

  let task = data.tasks.length > 1 ? "" : data.tasks[0].name;
  const shownTasks = () => data.tasks.filter((t) => !task || t.name === task);

  function drawCost() {
    if (!byId("cost")) return;
    const metric = byId("cost-metric").value, axis = byId("cost-axis").value, meta = data.metrics[metric];
    const many = !task, points = new Map();
    for (const t of shownTasks()) for (const entry of t.entries) {
      const figure = entry.figures[metric];
      if (figure) points.set(entry.label, [...(points.get(entry.label) || []), { ...entry, figure }]);
    }
    const traces = [], floors = [], drawn = [];
    for (const [label, entries] of points) {
      // Over all tasks: the plain mean over the tasks, and only of solvers that did them all.
      if (many && entries.length < data.tasks.length) continue;
      const mean = (pick) => entries.reduce((sum, e) => sum + pick(e), 0) / entries.length;
      const cost = mean((e) => e[axis]), value = mean((e) => e.figure[0]);
      const low = many ? null : entries[0].figure[1], high = many ? null : entries[0].figure[2];
      const text = `${label}<br>${meta.title} ${number(value, meta.digits)}` +
        (low === null ? "" : ` [${number(low, meta.digits)}, ${number(high, meta.digits)}]`) +
        `<br>${number(mean((e) => e.nfe), 0)} evaluations, ${number(mean((e) => e.seconds), 2)} s`;
      if (!(cost > 0)) { floors.push({ label, value, text }); continue; }
      drawn.push({ label, cost, value, low, high, text });
    }
    const right = meta.best === "low" ? -1 : 1, front = new Set();
    if (typeof meta.best === "string") {
      let best = -Infinity;
      for (const p of [...drawn].sort((a, b) => a.cost - b.cost || right * (b.value - a.value)))
        if (right * p.value > best) { best = right * p.value; front.add(p.label); }
      const line = drawn.filter((p) => front.has(p.label)).sort((a, b) => a.cost - b.cost);
      traces.push({ x: line.map((p) => p.cost), y: line.map((p) => p.value), mode: "lines", name: "best at its cost", hoverinfo: "skip",
        line: { shape: "hv", color: "#8b949d", width: 1.5, dash: "dot" }, showlegend: false });
    }
    for (const base of bases) { // variants of one solver, by their cost
      const kin = drawn.filter((p) => data.solvers[p.label] === base).sort((a, b) => a.cost - b.cost);
      if (kin.length > 1) traces.push({ x: kin.map((p) => p.cost), y: kin.map((p) => p.value), mode: "lines", hoverinfo: "skip", showlegend: false,
        line: { color: style(kin[0].label).color, width: 1.5 }, opacity: 0.5 });
    }
    // Of names that would lie on each other the better one stays; the legend has them all.
    const heights = drawn.flatMap((p) => [p.value, p.low ?? p.value, p.high ?? p.value]), span = Math.max(...heights) - Math.min(...heights) || 1;
    const named = [];
    if (!narrow()) for (const p of [...drawn].sort((x, y) => front.has(y.label) - front.has(x.label) || place.get(x.label) - place.get(y.label)))
      if (!named.some((q) => Math.abs(Math.log10(q.cost / p.cost)) < 0.25 && Math.abs(q.value - p.value) < 0.035 * span)) named.push(p);
    for (const p of drawn) {
      const s = style(p.label);
      traces.push({ x: [p.cost], y: [p.value], name: p.label, mode: named.includes(p) ? "markers+text" : "markers", text: [p.label],
        textposition: "middle right", textfont: { size: 11 }, cliponaxis: false, hovertext: [p.text], hoverinfo: "text",
        error_y: p.low === null ? undefined : { type: "data", symmetric: false, array: [p.high - p.value], arrayminus: [p.value - p.low], width: 3, thickness: 1.2, color: s.color },
        marker: { color: s.color, symbol: s.symbol, size: 10, line: { width: front.has(p.label) ? 2 : 0, color: "#8b949d" } } });
    }
    // Estimates without a network that lie far off would press all others together.
    const far = drawn.length ? floors.filter((f) => f.value < Math.min(...heights) - span || f.value > Math.max(...heights) + span) : [];
    for (const f of far) floors.splice(floors.indexOf(f), 1);
    const lines = []; // floors of nearly the same height share a line
    for (const f of floors.sort((x, y) => y.value - x.value)) {
      const last = lines.at(-1);
      if (last && last.value - f.value < 0.03 * span) Object.assign(last, { label: `${last.label}, ${f.label}`, text: `${last.text}<br>${f.text}` });
      else lines.push({ ...f });
    }
    const shapes = lines.map((f) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: f.value, y1: f.value, line: { width: 1, dash: "dash" } }));
    const annotations = lines.map((f) => ({ xref: "paper", x: 0, xanchor: "left", y: f.value, yanchor: "bottom", showarrow: false, text: f.label, font: { size: 11 }, hovertext: f.text }));
    if (typeof meta.best === "number") shapes.push({ type: "line", xref: "paper", x0: 0, x1: 1, y0: meta.best, y1: meta.best, line: { width: 1 } });
    draw("cost-plot", traces, layout(axis === "nfe" ? "network evaluations for one sample" : "seconds for one solve", meta.title,
      { xaxis: logarithmic(drawn.map((p) => p.cost)), shapes, annotations, showlegend: narrow() || named.length < drawn.length }));
    const words = [typeof meta.best === "string" ? `${meta.best === "high" ? "Higher" : "Lower"} is better; the dotted line joins the best at each cost.` : `${meta.best} is the value of a perfect solver.`];
    if (floors.length) words.push("Dashed: estimates without a network.");
    if (far.length) words.push(`Beyond the plot: ${far.map((f) => `${f.label} ${number(f.value, meta.digits)}`).join(", ")}.`);
    words.push(many ? "Means over the tasks, for solvers with results in all of them." : "Whiskers: 95 % intervals over images.");
    byId("cost-note").textContent = words.join(" ");
  }

  function drawCalibration() {
    if (!byId("calibration")) return;
    const found = data.curves.filter((c) => c.task === (task || data.tasks[0].name))
      .sort((a, b) => place.get(a.label) - place.get(b.label));
    const line = (label, i) => ({ name: label, mode: "lines+markers", line: { color: style(label).color, dash: style(label).dash, width: 2 },
      marker: { size: 5, color: style(label).color, symbol: style(label).symbol }, visible: i < 8 ? true : "legendonly" });
    const diagonal = (low, high) => ({ x: [low, high], y: [low, high], mode: "lines", hoverinfo: "skip", showlegend: false, line: { color: "#8b949d", width: 1, dash: "dash" } });
    draw("coverage-plot", [diagonal(0, 1), ...found.map((c, i) => ({ ...line(c.label, i), x: data.levels, y: c.covered, hovertemplate: "%{x:.0%} interval holds %{y:.1%}" }))],
      layout("level of the interval", "fraction of pixels inside", { xaxis: { range: [0, 1], tickformat: ".0%" }, yaxis: { range: [0, 1.02], tickformat: ".0%" }, below: true }));
    const all = found.flatMap((c) => [...c.spread, ...c.skill]).filter((v) => v > 0);
    const low = Math.min(...all), high = Math.max(...all), axis = logarithmic(all);
    draw("spread-plot", [diagonal(low, high), ...found.map((c, i) => ({ ...line(c.label, i), x: c.spread.map((v) => v || null), y: c.skill, hovertemplate: "predicted %{x:.3f}, actual %{y:.3f}" }))],
      layout("predicted standard deviation", "error of the mean", { xaxis: axis, yaxis: axis, below: true }));
    byId("ranks").replaceChildren(...found.map((c) => {
      const n = c.ranks.length, top = Math.max(...c.ranks, 2 / n);
      const bars = c.ranks.map((v, i) => `<rect x="${(100 * i) / n + 0.6}" width="${100 / n - 1.2}" y="${64 - (60 * v) / top}" height="${(60 * v) / top}"/>`);
      const level = 64 - 60 / n / top, figure = make("figure", { title: `${c.label}: ${c.ranks.map((v) => (100 * v).toFixed(1) + " %").join(", ")}` });
      figure.innerHTML = `<svg viewBox="0 0 100 64" preserveAspectRatio="none" aria-hidden="true">${bars.join("")}<line x1="0" x2="100" y1="${level}" y2="${level}"/></svg>`;
      figure.append(make("figcaption", { textContent: c.label }));
      return figure;
    }));
  }

  // Gallery --------------------------------------------------------------------------------------------------------
  const picture = (p, alt) => {
    const image = make("img", { src: p.src, alt, title: alt, tabIndex: 0, loading: "lazy", decoding: "async" });
    image.addEventListener("load", () => image.classList.toggle("small", image.naturalWidth < 110));
    return make("figure", {}, image, make("figcaption", { textContent: p.title }));
  };
  function drawScene() {
    if (!byId("gallery")) return;
    const scene = data.scenes[Number(byId("scene").value)];
    byId("scene-given").replaceChildren(...(scene ? scene.given.map((p) => picture(p, `${p.title}: ${scene.image}`)) : []));
    byId("scene-note").replaceChildren(...(scene ? [`${scene.size} pixels. Errors and standard deviations on one scale: 0`,
      make("span", { className: "bar" }), `${number(scene.white, 3)}. Click a picture to enlarge it; arrow keys show the next one.`] : ["No pictures are stored for this task."]));
    byId("scene-solvers").replaceChildren(...(scene ? scene.solvers : []).map((s) => {
      const words = ["psnr", "ssim", "coverage_90"].filter((m) => m in s.figures && data.metrics[m])
        .map((m) => `${data.metrics[m].title} ${number(s.figures[m], data.metrics[m].digits)}`);
      if (s.nfe) words.push(`${s.nfe} evaluations`);
      words.push(s.seconds < 0.01 ? "below 0.01 s" : `${number(s.seconds, 2)} s`);
      if (s.status !== "ok") words.push(`${s.status}: ${s.reason}`);
      return make("div", { className: "solver" }, make("h3", { textContent: s.label }), make("p", { textContent: words.join(" · ") }),
        make("div", { className: "pictures" }, ...s.pictures.map((p) => picture(p, `${s.label}, ${p.title}`))));
    }));
  }
  function fillScenes() {
    if (!byId("gallery")) return;
    byId("scene").replaceChildren(...data.scenes.flatMap((s, i) => !task || s.task === task
      ? [make("option", { value: i, textContent: (task ? "" : `${titles.get(s.task)}: `) + s.image + (s.seed ? `, seed ${s.seed}` : "") })] : []));
    drawScene();
  }
  const box = byId("box");
  const everyPicture = () => [...document.querySelectorAll("#gallery .pictures img")];
  let at = 0;
  const enlarge = (i) => {
    const all = everyPicture();
    at = (i + all.length) % all.length;
    box.querySelector("img").src = all[at].src;
    box.querySelector("figcaption").textContent = all[at].alt;
    if (!box.open) box.showModal();
  };
  document.addEventListener("click", (event) => {
    if (event.target.matches("#gallery .pictures img")) enlarge(everyPicture().indexOf(event.target));
    else if (event.target.dataset.step) enlarge(at + Number(event.target.dataset.step));
    else if (event.target === box) box.close();
  });
  document.addEventListener("keydown", (event) => {
    if (box.open && (event.key === "ArrowRight" || event.key === "ArrowLeft")) enlarge(at + (event.key === "ArrowRight" ? 1 : -1));
    else if (event.key === "Enter" && event.target.matches("#gallery .pictures img")) enlarge(everyPicture().indexOf(event.target));
  });

  // One task for the whole page ------------------------------------------------------------------------------------
  function choose(name) {
    task = name;
    if (byId("calibration-task")) byId("calibration-task").textContent = titles.get(task || data.tasks[0].name);
    for (const tab of document.querySelectorAll("[data-tab]")) {
      tab.setAttribute("aria-selected", String(tab.dataset.tab === name));
    }
    for (const view of document.querySelectorAll("[data-view]")) view.classList.toggle("shown", view.dataset.view === name);
    drawCost();
    fillScenes();
    drawCalibration();
  }
  for (const tab of document.querySelectorAll("[data-tab]")) tab.addEventListener("click", () => {
    history.replaceState(null, "", tab.dataset.tab ? `#task=${encodeURIComponent(tab.dataset.tab)}` : location.pathname + location.search);
    choose(tab.dataset.tab);
  });
  if (byId("cost")) {
    byId("cost-metric").append(...Object.entries(data.metrics).map(([name, m]) => make("option", { value: name, textContent: m.title, selected: name === data.metric })));
    byId("cost-metric").addEventListener("change", drawCost);
    byId("cost-axis").addEventListener("change", drawCost);
  }
  if (byId("scene")) byId("scene").addEventListener("change", drawScene);

  const asked = decodeURIComponent((location.hash.match(/^#task=(.*)$/) || [])[1] || "");
  choose(data.tasks.some((t) => t.name === asked) ? asked : task);

  // Plotly's bundle is stored compressed: 1.5 MB in the file instead of 4.8.
  (async () => {
    const bytes = Uint8Array.from(atob(byId("plotly").textContent), (c) => c.charCodeAt(0));
    const text = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
    document.head.append(make("script", { textContent: text }));
    choose(task);
    document.documentElement.dataset.ready = "yes";
  })();
})();
