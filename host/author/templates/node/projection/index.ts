// Documents about the streams of category `{{category}}`: one for each stream.

import { index, message, projection, projections, s } from '@quipu/guest';

{{typed}}
export interface Document {
  title: string;
  total: number;
}

{{/typed}}
export const totals = projection({
  name: '{{name}}',
  // Raise it when the documents would differ: they are rebuilt, and then take over.
  version: 1,
  sources: {
    {{category}}: {
      opened: message({ title: s.string() }),
      added: message({ amount: s.integer() }),
    },
  },
  indexes: { total: index.integer('/total') },
  keys: (event) => event.key,
  apply(document{{typed}}: Document | null{{/typed}}, event) {
    const before = document ?? { title: '', total: 0 };
    switch (event.type) {
      case 'opened':
        return { ...before, title: event.data.title };
      case 'added':
        return { ...before, total: before.total + event.data.amount };
    }
  },
});

export default projections('{{name}}', [totals]);
