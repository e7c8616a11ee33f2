// Example guest: applications for a loan, with the decisions, events and snapshots of
// `example-guests/loan`, which describes the rules.

import { decider } from '@quipu/guest';

import { decide } from './decide.ts';
import { commands, events } from './messages.ts';
import { evolve, initial, view } from './state.ts';

export default decider({ category: 'loan', commands, events, initial, evolve, decide, view });
