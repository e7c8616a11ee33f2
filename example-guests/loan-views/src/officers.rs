use std::collections::{BTreeMap, BTreeSet};

use quipu_guest::{Indexes, Projection, Recorded, Sources};
use serde::{Deserialize, Serialize};

use crate::{Event, Status, add};

/// Highest number of applications in an officer's document.
pub const APPLICATIONS_MAX: usize = 100;
/// Highest number of work items in an officer's document.
pub const ITEMS_MAX: usize = 100;

/// A document for each officer, folded from the events of all applications.
///
/// Events without an actor belong to no document. The same applies to actors whose name can't be a
/// key because it is empty, longer than 255 bytes, or contains a control character.
pub struct Officers;

/// The work of an officer.
#[derive(Default, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Officer {
    /// Name of the officer.
    pub name: String,
    /// Number of the officer's events.
    pub events: u64,
    /// How many of these events are steps of applications.
    pub steps: u64,
    /// How many of these events concern offers.
    pub offers: u64,
    /// Euros that the officer approved.
    pub approved: u64,
    /// Work on all items.
    pub work: Done,
    /// Work by item: the first [`ITEMS_MAX`] items, ordered by name.
    pub items: BTreeMap<String, Done>,
    /// Ids of the officer's applications: the first [`APPLICATIONS_MAX`], in order.
    pub applications: BTreeSet<String>,
    /// Whether there are more applications.
    pub more_applications: bool,
}

/// How often work was added to the list, started, and paused or completed.
#[derive(Default, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct Done {
    /// How often work was added to the list.
    pub scheduled: u64,
    /// How often the officer started work.
    pub started: u64,
    /// How often the officer paused or completed work.
    pub completed: u64,
}

impl Projection for Officers {
    const NAME: &'static str = "officers";
    const ANNOTATIONS: bool = true;
    type Event = Event;
    type Document = Officer;

    fn sources() -> Sources<Event> {
        Sources::of("loan")
    }

    fn indexes() -> Indexes {
        Indexes::none().integer("events", "/events")
    }

    fn keys(event: &Recorded<Event>) -> Vec<String> {
        // A member that is null is passed as its JSON text.
        let actor = event.annotation("actor").filter(|actor| *actor != "null");
        let is_key =
            |actor: &&str| (1..=255).contains(&actor.len()) && !actor.contains(char::is_control);
        let actor = actor.filter(is_key);
        actor.map(str::to_owned).into_iter().collect()
    }

    fn apply(officer: Option<Officer>, key: &str, event: &Recorded<Event>) -> Option<Officer> {
        let mut officer = officer.unwrap_or_else(|| Officer {
            name: key.to_owned(),
            ..Officer::default()
        });
        if let Event::ApplicationApproved { amount } | Event::CreditGranted { amount } = event.event
        {
            officer.approved = officer.approved.saturating_add(amount);
        }
        if matches!(event.event, Event::CreditGranted { .. }) {
            return Some(officer);
        }
        add(&mut officer.events);
        officer.count(&event.event);
        officer.applications.insert(event.key().to_owned());
        // An application that was left out once stays left out, because enough smaller ids remain.
        if officer.applications.len() > APPLICATIONS_MAX {
            officer.applications.pop_last();
            officer.more_applications = true;
        }
        Some(officer)
    }
}

impl Officer {
    fn count(&mut self, event: &Event) {
        match event {
            Event::WorkScheduled { item } => self.work(item, |done| add(&mut done.scheduled)),
            Event::WorkStarted { item } => self.work(item, |done| add(&mut done.started)),
            Event::WorkCompleted { item } => self.work(item, |done| add(&mut done.completed)),
            other if Status::after(other).is_some() => add(&mut self.steps),
            _ => add(&mut self.offers),
        }
    }

    fn work(&mut self, item: &str, count: impl Fn(&mut Done)) {
        count(&mut self.work);
        count(self.items.entry(item.to_owned()).or_default());
        if self.items.len() > ITEMS_MAX {
            self.items.pop_last();
        }
    }
}
