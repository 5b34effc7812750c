// Strips and curves: events over time, logits over time, patches of tokens, a token's volume.

// A canvas as large as it is shown, in its own pixels, empty.
function fresh(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const { width, height } = canvas.getBoundingClientRect();
  const [wide, high] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== wide || canvas.height !== high) {
    canvas.width = wide;
    canvas.height = high;
  }
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, wide, high);
  return { context, wide, high, ratio };
}

export function rates(canvas, counts, share, look) {
  const { context, wide, high, ratio } = fresh(canvas);
  const most = Math.max(1, ...counts);
  counts.forEach((count, i) => {
    const tall = Math.ceil((high * count) / most);
    context.fillStyle = (i + 1) / counts.length <= share ? look.colour(look.faint + 2) : look.colour(look.edge);
    context.fillRect(Math.floor((wide * i) / counts.length), high - tall, Math.ceil(wide / counts.length), tall);
  });
  context.fillStyle = look.whole(look.ink);
  context.fillRect(Math.min(wide - 2 * ratio, Math.round(share * wide)), 0, 2 * ratio, high);
}

// Curves: [{ steps, values, number of the colour }], with the lowest and the highest value at the left.
export function lines(canvas, curves, look) {
  const { context, wide, high, ratio } = fresh(canvas);
  const values = curves.flatMap((curve) => curve.values);
  if (!values.length) return;
  const [low, most] = [Math.min(...values), Math.max(...values)];
  const last = Math.max(1, ...curves.flatMap((curve) => curve.steps));
  const pad = 4 * ratio;
  const x = (step) => pad + (step / last) * (wide - 2 * pad);
  const y = (value) => pad + (1 - (value - low) / Math.max(most - low, 1e-12)) * (high - 2 * pad);
  context.strokeStyle = look.colour(look.edge);
  context.lineWidth = ratio;
  context.strokeRect(0.5, 0.5, wide - 1, high - 1);
  for (const curve of curves) {
    context.strokeStyle = context.fillStyle = look.line(curve.number);
    context.lineWidth = 1.6 * ratio;
    context.beginPath();
    curve.steps.forEach((step, i) => context.lineTo(x(step), y(curve.values[i])));
    context.stroke();
    context.beginPath();
    context.arc(x(curve.steps.at(-1)), y(curve.values.at(-1)), 2.5 * ratio, 0, 7);
    context.fill();
  }
  context.fillStyle = look.whole(look.faint);
  context.font = `${10 * ratio}px system-ui, sans-serif`;
  context.fillText(most.toPrecision(3), pad, pad + 10 * ratio);
  context.fillText(low.toPrecision(3), pad, high - pad);
}

// series: [{ t, logits, dashed }], the host's and the device's one over the other.
export function logits(canvas, all, range, now, look) {
  const { context, wide, high, ratio } = fresh(canvas);
  const values = all.flatMap((one) => one.logits.flat());
  if (!values.length) return;
  const [low, most] = [Math.min(...values), Math.max(...values)];
  const pad = 4 * ratio;
  const x = (t) => pad + ((t - range[0]) / Math.max(range[1] - range[0], 1)) * (wide - 2 * pad);
  const y = (value) => pad + (1 - (value - low) / Math.max(most - low, 1e-6)) * (high - 2 * pad);
  context.strokeStyle = look.colour(look.edge);
  context.lineWidth = ratio;
  context.strokeRect(0.5, 0.5, wide - 1, high - 1);
  for (const { t, logits: rows, device } of all) {
    const classes = rows[0]?.length ?? 0;
    for (let number = 0; number < classes; number++) {
      context.strokeStyle = context.fillStyle = look.line(number);
      context.lineWidth = 1.6 * ratio;
      context.beginPath();
      rows.forEach((row, i) => {
        if (device) { // dots on the host's line: where they are not on it, they differ
          context.moveTo(x(t[i]) + 2.5 * ratio, y(row[number]));
          context.arc(x(t[i]), y(row[number]), 2.5 * ratio, 0, 7);
        } else if (i) context.lineTo(x(t[i]), y(row[number]));
        else context.moveTo(x(t[i]), y(row[number]));
      });
      if (device) context.fill();
      else context.stroke();
    }
  }
  context.fillStyle = look.whole(look.ink);
  context.fillRect(x(now), 0, ratio, high);
}

// Patches as they lie on the sensor, whose last column and row may be cut.
export function patches(canvas, { rows, columns, data }, size, sensor, part, chosen, look) {
  const { context, wide, high, ratio } = fresh(canvas);
  const view = part ?? { x: 0, y: 0, width: sensor.width, height: sensor.height };
  const x = (pixel) => ((pixel - view.x) / view.width) * wide;
  const y = (pixel) => ((pixel - view.y) / view.height) * high;
  const gap = Math.max(0.5, Math.min(ratio, (0.06 * size * wide) / view.width));
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const [left, top, right, bottom] = [x(column * size), y(row * size), x((column + 1) * size), y((row + 1) * size)];
      context.fillStyle = look.colour(data[row * columns + column] || look.panel);
      context.fillRect(left, top, right - left, bottom - top);
      if (right - left > 4) {
        context.fillStyle = look.colour(look.edge);
        context.fillRect(left - gap / 2, top, gap, bottom - top);
        context.fillRect(left, top - gap / 2, right - left, gap);
      }
    }
  }
  if (chosen) {
    context.strokeStyle = look.whole(look.ink);
    context.lineWidth = 2 * ratio;
    context.strokeRect(x(chosen.x * size), y(chosen.y * size), x((chosen.x + 1) * size) - x(chosen.x * size),
      y((chosen.y + 1) * size) - y(chosen.y * size));
  }
}

// Truths are thick and named below, what was found is thin and in the class's colour: solid the host's, dashed a device's.
export function boxes(canvas, found, sensor, part, labels, look) {
  const { context, wide, high, ratio } = fresh(canvas);
  const view = part ?? { x: 0, y: 0, width: sensor.width, height: sensor.height };
  context.font = `${12 * ratio}px system-ui, sans-serif`;
  for (const [left, top, width, height, score, label, whose] of found) {
    const x = ((left - view.x) / view.width) * wide;
    const y = ((top - view.y) / view.height) * high;
    const [w, h] = [(width / view.width) * wide, (height / view.height) * high];
    const truth = whose === "truth";
    context.strokeStyle = context.fillStyle = truth ? look.whole(look.ink) : look.line(label);
    context.lineWidth = (truth ? 3 : 1.5) * ratio;
    context.setLineDash(whose === "device" ? [5 * ratio, 4 * ratio] : []);
    context.strokeRect(x, y, w, h);
    const name = labels[label] ?? `class ${label}`;
    context.textAlign = whose === "device" ? "right" : "left";
    context.fillText(truth ? name : `${name} ${score.toFixed(2)}`, whose === "device" ? x + w : x, truth ? y + h + 14 * ratio : y - 4 * ratio);
  }
}

// A row for each polarity, a square for each piece of time, a cell for each pixel.
export function volume(canvas, cells, look) {
  const [polarities, buckets, size] = [cells.length, cells[0].length, cells[0][0].length];
  canvas.width = buckets * (size + 1) - 1;
  canvas.height = polarities * (size + 1) - 1;
  canvas.style.aspectRatio = `${canvas.width} / ${canvas.height}`;
  const context = canvas.getContext("2d");
  const most = Math.log1p(Math.max(1, ...cells.flat(3)));
  context.fillStyle = look.colour(look.edge);
  context.fillRect(0, 0, canvas.width, canvas.height);
  cells.forEach((bucketed, polarity) => bucketed.forEach((rows, bucket) => rows.forEach((row, j) => row.forEach((n, i) => {
    const shade = n ? (polarity ? look.on : look.off) + Math.round((look.shades - 1) * Math.log1p(n) / most) : look.panel;
    context.fillStyle = look.colour(shade);
    context.fillRect(bucket * (size + 1) + i, polarity * (size + 1) + j, 1, 1);
  }))));
}
