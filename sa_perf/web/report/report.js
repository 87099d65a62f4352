// Draws the report's charts; every number of theirs stands in a table of the page already.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("chart-data").textContent);
  if (typeof Chart === "undefined") return;
  document.documentElement.classList.add("with-script");

  const charts = new Map();
  const colour = (name) =>
    getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  const duration = (seconds) => {
    if (!seconds) return "0";
    if (seconds >= 1) return `${+seconds.toPrecision(3)} s`;
    if (seconds >= 1e-3) return `${+(seconds * 1e3).toPrecision(3)} ms`;
    return `${+(seconds * 1e6).toPrecision(3)} µs`;
  };

  const draw = (id, { labels, series, across, stacked, log, unit, titles }) => {
    const canvas = document.getElementById(id);
    if (!canvas) return;
    charts.get(id)?.destroy();
    const format = unit === "seconds" ? duration : (value) => value.toLocaleString("en");
    // Few slow executions among many quick ones are what one looks for: only a log scale shows them.
    const powers = (value) => (Number.isInteger(Math.log10(value)) ? format(value) : "");
    const values = {
      stacked,
      type: log ? "logarithmic" : "linear",
      beginAtZero: true,
      min: log ? 0.5 : undefined,
      title: { display: log, text: "Executions, log scale", color: colour("soft") },
      grid: { color: (line) => (log && line.tick.label === "" ? "transparent" : colour("line")) },
      ticks: { color: colour("soft"), callback: log ? powers : format, maxTicksLimit: log ? undefined : 6 },
    };
    const names = {
      stacked,
      title: { display: log, text: "Duration from, log scale", color: colour("soft") },
      grid: { display: false },
      ticks: { color: colour("soft"), autoSkip: !across, maxRotation: across ? 0 : 60 },
    };
    charts.set(id, new Chart(canvas, {
      type: "bar",
      data: {
        labels,
        datasets: series.map((one) => ({
          label: one.label,
          data: one.values,
          backgroundColor: colour(one.colour),
          maxBarThickness: 28,
          categoryPercentage: across ? 0.8 : 0.95,
        })),
      },
      options: {
        animation: false,
        maintainAspectRatio: false,
        indexAxis: across ? "y" : "x",
        scales: across ? { x: values, y: names } : { x: names, y: values },
        plugins: {
          legend: { display: series.length > 1, labels: { color: colour("text") } },
          tooltip: {
            callbacks: {
              title: (items) => titles ? titles[items[0].dataIndex] : items[0].label,
              label: (item) => `${item.dataset.label}: ${format(item.raw)}`,
            },
          },
        },
      },
    }));
  };

  const narrow = matchMedia("(max-width: 30rem)");
  const names = (rows) => rows.map((row) => (narrow.matches ? row.short : [row.name, row.short]));

  const choice = document.getElementById("latency-of");
  const drawLatency = () => {
    const chosen = data.latency[choice ? choice.selectedIndex : 0];
    if (!chosen) return;
    draw("latency-chart", {
      labels: chosen.bins.map((bin) => bin.from),
      titles: chosen.bins.map((bin) => bin.label),
      series: [{ label: "Executions", values: chosen.bins.map((bin) => bin.count), colour: "accent" }],
      log: true,
    });
    const rows = chosen.bins.filter((bin) => bin.count).map((bin) => {
      const row = document.createElement("tr");
      for (const [kind, text] of [["key", bin.label], ["", bin.count.toLocaleString("en")], ["", bin.share]]) {
        const cell = document.createElement("td");
        cell.className = kind;
        cell.textContent = text;
        row.append(cell);
      }
      return row;
    });
    document.querySelector("#latency-table tbody").replaceChildren(...rows);
    document.querySelector("#latency-table caption").textContent = chosen.name;
  };

  const drawAll = () => {
    draw("queries-chart", {
      labels: names(data.queries),
      titles: data.queries.map((query) => `${query.name} (${query.short})`),
      series: [{ label: "Time", values: data.queries.map((query) => query.seconds), colour: "accent" }],
      across: true,
      unit: "seconds",
    });
    drawLatency();
    draw("scopes-chart", {
      labels: data.scopes.map((scope) => scope.short),
      titles: data.scopes.map((scope) => scope.name),
      series: [
        { label: "In the database", values: data.scopes.map((scope) => scope.database), colour: "accent" },
        { label: "Elsewhere", values: data.scopes.map((scope) => scope.elsewhere), colour: "second" },
      ],
      across: true,
      stacked: true,
      unit: "seconds",
    });
  };

  choice?.addEventListener("change", drawLatency);
  for (const query of [matchMedia("(prefers-color-scheme: dark)"), narrow]) {
    query.addEventListener("change", drawAll);
  }

  const open = (target) => {
    const details = target?.closest("details") ?? target?.querySelector?.("details");
    if (details) details.open = true;
  };
  const openTarget = () => open(document.getElementById(decodeURIComponent(location.hash.slice(1))));
  addEventListener("hashchange", openTarget);
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const details of closed) details.open = true;
    for (const chart of charts.values()) chart.resize();
  });
  addEventListener("afterprint", () => {
    for (const details of closed) details.open = false;
    for (const chart of charts.values()) chart.resize();
  });

  drawAll();
  openTarget();
})();
