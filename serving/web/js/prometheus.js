/** Parses Prometheus' text format, and computes rates and quantiles between two scrapes. */

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

/** [{name, labels, value}] of an exposition. */
export function parsed(text) {
  return text.split("\n").flatMap((line) => {
    const match = line.startsWith("#") ? null : LINE.exec(line);
    if (!match) return [];
    const labels = Object.fromEntries([...(match[2] ?? "").matchAll(LABEL)].map(([, name, value]) => [name, value.replace(/\\(.)/g, "$1")]));
    return [{ name: match[1], labels, value: number(match[3]) }];
  });
}

const number = (text) => (text === "+Inf" ? Infinity : Number(text));

/** Sum of the samples of this name whose labels match. */
export function sum(samples, name, matches = () => true) {
  return samples.filter((sample) => sample.name === name && matches(sample.labels)).reduce((total, sample) => total + sample.value, 0);
}

/** Map of upper bound -> cumulative count, over all label sets that match. */
export function buckets(samples, name, matches) {
  const counts = new Map();
  for (const { name: of, labels, value } of samples) {
    if (of !== `${name}_bucket` || !matches(labels)) continue;
    const bound = number(labels.le);
    counts.set(bound, (counts.get(bound) ?? 0) + value);
  }
  return counts;
}

/** The counts between two scrapes; null where counts fell: the service restarted, or another machine answered. */
export function between(before, after) {
  const grown = new Map([...after].map(([bound, count]) => [bound, count - (before.get(bound) ?? 0)]));
  return [...grown.values()].some((count) => count < 0) ? null : grown;
}

/**
 * The quantile, linear within its bucket as Prometheus does it; null without observations. In the last bucket, which has
 * no end, its beginning.
 */
export function quantile(share, counts) {
  const bounds = [...counts].sort(([a], [b]) => a - b);
  const total = bounds.at(-1)?.[1] ?? 0;
  if (total === 0) return null;
  const target = share * total;
  let [low, below] = [0, 0];
  for (const [bound, count] of bounds) {
    if (count >= target) return bound === Infinity ? low : low + ((bound - low) * (target - below)) / (count - below || 1);
    [low, below] = [bound, count];
  }
  return null;
}
