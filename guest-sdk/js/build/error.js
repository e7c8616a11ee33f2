/** A build that failed: lines for the author, and what the tool said. */
export class BuildError extends Error {
  constructor(lines, details) {
    const list = [lines].flat();
    super(list.join('\n'));
    this.lines = list;
    this.details = details;
  }
}
