/** Prometheus' text format, read; and what two readings say of the time between them. */

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

/** [{name, labels, value}] of an exposition. */
export function parsed(text) {
  return text.split("\n").flatMap((line) => {
    const found = line.startsWith("#") ? null : LINE.exec(line);
    if (!found) return [];
    const labels = Object.fromEntries([...(found[2] ?? "").matchAll(LABEL)].map(([, name, value]) => [name, value.replace(/\\(.)/g, "$1")]));
    return [{ name: found[1], labels, value: number(found[3]) }];
  });
}

const number = (text) => (text === "+Inf" ? Infinity : Number(text));

/** Sum of the samples of this name that `wanted(labels)` takes. */
export function sum(samples, name, wanted = () => true) {
  return samples.filter((one) => one.name === name && wanted(one.labels)).reduce((total, one) => total + one.value, 0);
}

/** Map of upper bound -> how many took at most so long, over all label sets that are wanted. */
export function buckets(samples, name, wanted) {
  const found = new Map();
  for (const { name: of, labels, value } of samples) {
    if (of !== `${name}_bucket` || !wanted(labels)) continue;
    const bound = number(labels.le);
    found.set(bound, (found.get(bound) ?? 0) + value);
  }
  return found;
}

/** What came between two readings; null where counts fell: the service was started anew, or another machine answered. */
export function between(before, after) {
  const grown = new Map([...after].map(([bound, count]) => [bound, count - (before.get(bound) ?? 0)]));
  return [...grown.values()].some((count) => count < 0) ? null : grown;
}

/**
 * The quantile, linear within its bucket as Prometheus does it; null without observations. In the last bucket, which has
 * no end, its beginning.
 */
export function quantile(share, counts) {
  const bounds = [...counts].sort(([one], [other]) => one - other);
  const total = bounds.at(-1)?.[1] ?? 0;
  if (total === 0) return null;
  const wanted = share * total;
  let [low, below] = [0, 0];
  for (const [bound, count] of bounds) {
    if (count >= wanted) return bound === Infinity ? low : low + ((bound - low) * (wanted - below)) / (count - below || 1);
    [low, below] = [bound, count];
  }
  return null;
}
