//! Documents about the streams of category `{{category}}`: one for each stream.

use quipu_guest::{Indexes, Projection, Recorded, Sources, projections};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use {{name}}_events::Event;

#[derive(Serialize, Deserialize, JsonSchema, Default, Debug, PartialEq)]
pub struct Document {
    pub title: String,
    pub total: u64,
    pub is_open: bool,
}

pub struct Totals;

impl Projection for Totals {
    const NAME: &'static str = "{{name}}_views";
    /// Raise it when the documents would differ: they are rebuilt, and then take over.
    const VERSION: u32 = 1;
    type Event = Event;
    type Document = Document;

    fn sources() -> Sources<Event> {
        Sources::of("{{category}}")
    }

    fn indexes() -> Indexes {
        Indexes::none().integer("total", "/total")
    }

    fn keys(event: &Recorded<Event>) -> Vec<String> {
        vec![event.key().to_owned()]
    }

    fn apply(document: Option<Document>, _: &str, event: &Recorded<Event>) -> Option<Document> {
        let mut document = document.unwrap_or_default();
        match &event.event {
            Event::Opened { title } => {
                document.title = title.clone();
                document.is_open = true;
            }
            Event::Added { amount } => document.total = document.total.saturating_add(*amount),
            Event::Closed { .. } => document.is_open = false,
        }
        Some(document)
    }
}

projections!("{{name}}_views", Totals);
