//! Spans of folds, which link to the traces of the requests whose events are folded.

use std::sync::Arc;
use std::time::Instant;

use super::owner::Owner;
use super::rules::Event;
use crate::meters::{FoldSpan, SpanIds};

impl Owner {
    /// Begins the span of a fold. None if no event belongs to a trace that is sent.
    pub(super) fn begin_span(&self, events: &[Event]) -> Option<FoldSpan> {
        let (first, last) = (events.first()?, events.last()?);
        let traces = events.iter();
        let traces = traces.filter_map(|event| event.commit.traceparent.as_deref());
        let links = self.shared.meters.spans.links(traces);
        if links.is_empty() {
            return None;
        }
        let begun = Instant::now();
        Some(FoldSpan {
            projection: Arc::clone(&self.name),
            module: self.build.module,
            ids: SpanIds::begin(None),
            events: events.len(),
            first: first.position,
            last: last.position,
            has_failed: false,
            begun,
            ended: begun,
            links,
        })
    }

    /// Sends the span of a fold, if it has one.
    pub(super) fn end_span(&self, span: Option<FoldSpan>, has_failed: bool) {
        if let Some(span) = span {
            self.shared.meters.spans.end_fold(FoldSpan {
                has_failed,
                ended: Instant::now(),
                ..span
            });
        }
    }
}
