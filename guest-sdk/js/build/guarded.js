// Imported before the author's code, so that it meets the guards from its first line.

import { guard } from '../src/guard.js';

guard();
