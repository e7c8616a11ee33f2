/** Collects an async iterable. */
export async function all(items) {
  const list = [];
  for await (const item of items) list.push(item);
  return list;
}

/** Takes the first items, and leaves the loop. */
export async function take(count, items) {
  const list = [];
  for await (const item of items) {
    list.push(item);
    if (list.length === count) break;
  }
  return list;
}

/** A promise and the function that resolves it. */
export function gate() {
  let open;
  const opened = new Promise((resolve) => { open = resolve; });
  return { opened, open };
}
