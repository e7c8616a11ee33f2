//! Documents about the streams of category `{{category}}`: one for each stream.

use quipu_guest::{Indexes, Message, Projection, Recorded, Sources, projections};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The events that the projection reads, as the decider writes them.
#[derive(Message, Serialize, Deserialize, Debug, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    Opened { title: String },
    Added { amount: u64 },
}

#[derive(Serialize, Deserialize, JsonSchema, Default, Debug, PartialEq)]
pub struct Document {
    pub title: String,
    pub total: u64,
}

pub struct Totals;

impl Projection for Totals {
    const NAME: &'static str = "{{name}}";
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
            Event::Opened { title } => document.title = title.clone(),
            Event::Added { amount } => document.total = document.total.saturating_add(*amount),
        }
        Some(document)
    }
}

projections!("{{name}}", Totals);
