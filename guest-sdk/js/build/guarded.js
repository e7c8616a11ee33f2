// Imported before the author's code, so that it meets the guards from its first line.

import { hostConsole } from '../src/console.js';
import { guard } from '../src/guard.js';

guard();
globalThis.console = hostConsole();
