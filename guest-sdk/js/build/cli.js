// The command line `quipu-guest`.

import { build } from './build.js';
import { BuildError } from './error.js';
import { runTests } from './test.js';

const HELP = `Usage: quipu-guest COMMAND [OPTIONS]

Builds and tests guests written in JavaScript or TypeScript.

Commands:
  build          builds the guest of this folder to a component
  test           runs *.test.ts and *.test.js in tests, test and src with node --test

Options of build:
  --entry FILE   the file with the guest as its default export [default: src/index.ts,
                 src/index.js, index.ts or index.js, the first that exists]
  --out FILE     the component [default: NAME.wasm, where NAME is the guest's name]
  --small        use an engine of a third less size, which is slower
  --json         print the result as JSON

Options:
  --no-check     do not check types, also if typescript is installed
  --verbose      show the stacks of the tools
  --help         show this text
`;

const COMMANDS = ['build', 'test'];
const FLAGS = { '--small': 'isSmall', '--no-check': 'skipsCheck', '--verbose': 'isVerbose', '--json': 'isJson' };
const VALUES = { '--entry': 'entry', '--out': 'out' };

/** Runs the program and returns its exit code: 0, 1 (the build failed) or 2 (wrong usage). */
export async function main(args) {
  if (args.length === 0 || args.includes('--help') || args.includes('-h')) {
    process.stdout.write(HELP);
    return args.length === 0 ? 2 : 0;
  }
  let options;
  try {
    options = read(args);
  } catch (error) {
    process.stderr.write(`error: ${error.message}\n`);
    return 2;
  }
  try {
    if (options.command === 'test') return await runTests(options);
    const result = await build(options);
    process.stdout.write(options.isJson ? `${JSON.stringify(result)}\n` : summary(result));
    return 0;
  } catch (error) {
    report(error, options.isVerbose);
    return 1;
  }
}

function read([command, ...rest]) {
  if (!COMMANDS.includes(command)) throw new Error(`unknown command "${command}"; expected ${COMMANDS.join(' or ')} (see --help)`);
  const options = { command };
  for (let index = 0; index < rest.length; index += 1) {
    const [name, inline] = rest[index].split(/=(.*)/s, 2);
    if (FLAGS[name] && inline === undefined) {
      options[FLAGS[name]] = true;
    } else if (VALUES[name]) {
      const value = inline ?? rest[(index += 1)];
      if (!value) throw new Error(`${name} needs a file`);
      options[VALUES[name]] = value;
    } else {
      throw new Error(`unknown option "${rest[index]}" (see --help)`);
    }
  }
  return options;
}

function report(error, isVerbose) {
  const lines = error instanceof BuildError ? error.lines : [error.message];
  for (const line of lines) process.stderr.write(`error: ${line}\n`);
  if (isVerbose) process.stderr.write(`${error.details ?? error.stack}\n`);
  else if (error.details || !(error instanceof BuildError)) process.stderr.write('the tool says more with --verbose\n');
}

function summary({ out, bytes, name, version, exports, imports, commands, events, projections, steps }) {
  const lines = [
    `${out}: ${name} ${version}, ${(bytes / 1024 / 1024).toFixed(2)} MiB`,
    `exports: ${exports.join(', ')}`,
    `imports: ${imports.join(', ')}`,
  ];
  const listed = { commands, events, projections, steps };
  for (const [what, list] of Object.entries(listed)) {
    if (list.length > 0) lines.push(`${what}: ${list.join(', ')}`);
  }
  return `${lines.join('\n')}\n`;
}
