// Lifts stored events of category `{{category}}` to the forms that its readers know.

import { lift, s, upcaster, upcasters } from '@quipu/guest';

export const steps = upcaster({
  category: '{{category}}',
  steps: [
    // Version 1 has an amount in whole units, version 2 in cents.
    lift('added', 1, { schema: s.object({ amount: s.integer() }) })
      .to(2, (old) => ({ cents: old.amount * 100 })),
  ],
});

export default upcasters('{{name}}', steps);
