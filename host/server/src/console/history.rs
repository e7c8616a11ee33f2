//! The events of a stream, and the commands that were rejected between them.

use std::cmp::Reverse;

use maud::{Markup, html};

use super::layout;
use super::text::{self, Untrusted};
use super::views::{self, Event, Rejection};

/// A page of the history of a stream.
pub struct Page<'a> {
    /// The newest first.
    pub events: &'a [Event],
    /// The newest first.
    pub rejections: Vec<&'a Rejection>,
    /// The version that the page begins with; none for the newest events.
    pub from: Option<u64>,
    /// The version that the next page begins with; none at the end.
    pub next: Option<u64>,
}

/// A row of the table.
enum Row<'a> {
    Event(&'a Event),
    Rejection(&'a Rejection),
}

impl<'a> Page<'a> {
    /// Shows the page. A command that was rejected at a version is above the event of that version.
    pub fn show(self) -> Markup {
        let rows = self.rows();
        let has_rejection = rows.iter().any(|row| matches!(row, Row::Rejection(_)));
        let columns = ["Position", "Recorded at", "Version", "Type", "Data", "By"];
        let shown = html! {
            @for row in &rows {
                @match row {
                    Row::Event(event) => { (views::event_row(event, false)) }
                    Row::Rejection(rejection) => { (rejected_row(rejection)) }
                }
            }
        };
        html! {
            @if rows.is_empty() { p.note { "There are no events here." } }
            @else { (layout::table("Events of the stream", &columns, &shown)) }
            @if has_rejection {
                p.note { "Rejected commands are above the event of the version at which they were decided. Only those among the last 100 rejections of the stream are shown." }
            }
        }
    }

    /// Each rejection is on one page: that of the version at which it was decided.
    fn rows(self) -> Vec<Row<'a>> {
        let Page {
            events,
            mut rejections,
            from,
            next,
        } = self;
        rejections.retain(|it| {
            let is_below = from.is_none_or(|from| it.version <= from);
            is_below && next.is_none_or(|next| it.version > next)
        });
        // Those of one version stay in their order.
        rejections.sort_by_key(|it| Reverse(it.version));
        let mut rejections = rejections.into_iter().peekable();
        let mut rows = Vec::new();
        for event in events {
            while let Some(it) = rejections.next_if(|it| it.version >= event.version) {
                rows.push(Row::Rejection(it));
            }
            rows.push(Row::Event(event));
        }
        rows.extend(rejections.map(Row::Rejection));
        rows
    }
}

/// A row about a rejected command.
fn rejected_row(it: &Rejection) -> Markup {
    const COMMAND: &str = "quipu rejections --json";
    let base64 = it.data_base64.as_deref();
    html! {
        tr {
            td { span.none { "rejected" } }
            td { (layout::time(&it.accepted_at)) }
            td.number {
                a href=(layout::state_path(&it.stream, it.version, Some(&it.module))) { (it.version) }
            }
            td.text {
                (Untrusted(&it.command)) ": " code { (Untrusted(&it.code)) } br;
                (Untrusted(text::cut(&it.message, 500).0)) br;
                (layout::trace(&it.command_id))
            }
            td.wide {
                details {
                    summary { (views::beginning(it.data.as_deref(), base64)) }
                    (it.data(COMMAND))
                    @if let Some(details) = &it.details { p { "Details" } (text::json(details.get(), COMMAND)) }
                    p { "Decided by module " (layout::module(&it.module)) }
                }
            }
            td { (layout::or_dash(it.principal.as_deref().map(Untrusted))) }
        }
    }
}
