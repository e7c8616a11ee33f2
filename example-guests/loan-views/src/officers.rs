use std::collections::{BTreeMap, BTreeSet};

use quipu_guest::{Indexes, Projection, Recorded, Sources};
use serde::{Deserialize, Serialize};

use crate::{Event, Status, add};

/// Most applications that an officer's document names.
pub const APPLICATIONS_MAX: usize = 100;
/// Most items of work that it names.
pub const ITEMS_MAX: usize = 100;

/// A document for everybody who did something, out of the events of all applications.
///
/// What was done without an actor is nobody's. So is what was done by one whose name can't
/// be a key: it is empty, longer than 255 bytes, or holds a control character.
pub struct Officers;

/// What somebody did.
#[derive(Default, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Officer {
    /// Who.
    pub name: String,
    /// How many events are theirs.
    pub events: u64,
    /// Of these, steps of applications.
    pub steps: u64,
    /// Of these, what was done with offers.
    pub offers: u64,
    /// Euros that they approved.
    pub approved: u64,
    /// Work on all items together.
    pub work: Done,
    /// Work by item: the first [`ITEMS_MAX`] in the order of their names.
    pub items: BTreeMap<String, Done>,
    /// Ids of the applications that they had to do with: the first [`APPLICATIONS_MAX`] in
    /// their order.
    pub applications: BTreeSet<String>,
    /// There are more of them.
    pub more_applications: bool,
}

/// How often work was put on the list, begun, and paused or done.
#[derive(Default, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct Done {
    /// How often it was put on the list.
    pub scheduled: u64,
    /// How often they began.
    pub started: u64,
    /// How often they paused or were done.
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
        // A member that is null comes as its JSON.
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
        // Whatever is left out once stays so: as many smaller ones are there.
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
