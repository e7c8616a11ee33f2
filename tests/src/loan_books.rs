//! The expected documents of `loan-views`, computed only from the accepted commands: neither events
//! nor the guest's code are used.
//!
//! Commands are entered in the order in which they were accepted for each application. The order
//! between applications makes no difference.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::lines::Line;

/// Documents by their keys.
pub type Documents = BTreeMap<String, Value>;

/// Every accepted command.
#[derive(Debug, Default)]
pub struct LoanBooks {
    /// By application, in order.
    accepted: BTreeMap<String, Vec<Accepted>>,
}

#[derive(Debug)]
struct Accepted {
    kind: String,
    data: Value,
    actor: Option<String>,
    at: Option<String>,
}

/// The projections that the books can compute.
pub const PROJECTIONS: [&str; 3] = ["applications", "officers", "pipeline"];

const STEPS: [&str; 5] = ["submit", "partly-submit", "preaccept", "accept", "finalize"];
const STATUSES: [&str; 5] = [
    "submitted",
    "partly-submitted",
    "preaccepted",
    "accepted",
    "finalized",
];
const GRANTS: [&str; 3] = ["approve", "register", "activate"];
const ENDS: [&str; 2] = ["decline", "cancel"];
const OFFERS: [(&str, &str); 7] = [
    ("select-offer", "selected"),
    ("create-offer", "created"),
    ("send-offer", "sent"),
    ("return-offer", "returned"),
    ("accept-offer", "accepted"),
    ("cancel-offer", "cancelled"),
    ("decline-offer", "declined"),
];
const WORK: [(&str, &str); 3] = [
    ("schedule-work", "scheduled"),
    ("start-work", "started"),
    ("complete-work", "completed"),
];

impl LoanBooks {
    /// Enters an accepted command.
    pub fn accept(
        &mut self,
        application: &str,
        kind: &str,
        data: Value,
        actor: Option<&str>,
        at: Option<&str>,
    ) {
        let of = self.accepted.entry(application.to_owned()).or_default();
        of.push(Accepted {
            kind: kind.to_owned(),
            data,
            actor: actor.map(str::to_owned),
            at: at.map(str::to_owned),
        });
    }

    /// Enters an accepted command, given as a line of the log.
    pub fn accept_line(&mut self, line: &Line) {
        let (actor, at) = (line.actor.as_deref(), line.at.as_deref());
        self.accept(&line.id, &line.r#type, line.body(), actor, at);
    }

    /// The documents of one of [`PROJECTIONS`].
    pub fn documents(&self, projection: &str) -> Documents {
        match projection {
            "applications" => self.applications(),
            "officers" => self.officers(),
            "pipeline" => self.pipeline(),
            other => panic!("no projection {other}"),
        }
    }

    fn applications(&self) -> Documents {
        let accepted = self.accepted.iter();
        accepted
            .map(|(id, commands)| (id.clone(), application(id, commands)))
            .collect()
    }

    fn officers(&self) -> Documents {
        let mut by_actor: BTreeMap<&str, Vec<(&str, &Accepted)>> = BTreeMap::new();
        for (id, commands) in &self.accepted {
            for command in commands {
                if let Some(actor) = &command.actor {
                    by_actor.entry(actor).or_default().push((id, command));
                }
            }
        }
        let officers = by_actor.into_iter();
        officers
            .map(|(actor, deeds)| (actor.to_owned(), self.officer(actor, &deeds)))
            .collect()
    }

    fn officer(&self, actor: &str, deeds: &[(&str, &Accepted)]) -> Value {
        let commands: Vec<&Accepted> = deeds.iter().map(|(_, command)| *command).collect();
        let is_work = |command: &&&Accepted| WORK.iter().any(|(kind, _)| *kind == command.kind);
        let is_offer = |command: &&&Accepted| OFFERS.iter().any(|(kind, _)| *kind == command.kind);
        let mut items: BTreeMap<&str, Vec<&Accepted>> = BTreeMap::new();
        for command in commands.iter().filter(is_work) {
            items.entry(item(command)).or_default().push(command);
        }
        let applications: BTreeSet<&str> = deeds.iter().map(|(id, _)| *id).collect();
        let approved = deeds
            .iter()
            .filter(|(_, command)| command.kind == "approve");
        let offers = commands.iter().filter(is_offer).count();
        let work = commands.iter().filter(is_work).count();
        let items: BTreeMap<_, _> = items
            .into_iter()
            .take(100)
            .map(|(item, commands)| (item, counts(&WORK, &commands)))
            .collect();
        json!({
            "name": actor,
            "events": commands.len(),
            "steps": commands.len() - offers - work,
            "offers": offers,
            "approved": approved.map(|(id, _)| amount(&self.accepted[*id])).sum::<u64>(),
            "work": counts(&WORK, &commands),
            "items": items,
            "applications": applications.iter().take(100).collect::<Vec<_>>(),
            "more_applications": applications.len() > 100,
        })
    }

    fn pipeline(&self) -> Documents {
        let all: Vec<&Accepted> = self.accepted.values().flatten().collect();
        if all.is_empty() {
            return Documents::new();
        }
        let count = |kind: &str| all.iter().filter(|it| it.kind == kind).count();
        let mut reached: BTreeMap<&str, usize> =
            STATUSES.into_iter().zip(STEPS.map(count)).collect();
        let others = [
            "approved",
            "registered",
            "activated",
            "declined",
            "cancelled",
        ];
        let kinds = GRANTS.into_iter().chain(ENDS);
        reached.extend(others.into_iter().zip(kinds.map(count)));
        let mut furthest: BTreeMap<&str, usize> =
            STATUSES.into_iter().map(|status| (status, 0)).collect();
        for commands in self.accepted.values() {
            let taken = STEPS.iter().rposition(|step| has(commands, step));
            if let Some(step) = taken {
                *furthest.get_mut(STATUSES[step]).unwrap() += 1;
            }
        }
        let approved = self.accepted.values().filter(|it| has(it, "approve"));
        let pipeline = json!({
            "reached": reached,
            "furthest": furthest,
            "requested_euros": self.accepted.values().map(|it| amount(it)).sum::<u64>(),
            "granted_euros": approved.map(|it| amount(it)).sum::<u64>(),
            "offers": counts(&OFFERS, &all),
            "work": counts(&WORK, &all),
        });
        Documents::from([("all".to_owned(), pipeline)])
    }
}

fn application(id: &str, commands: &[Accepted]) -> Value {
    let first = |kinds: &[&str]| commands.iter().find(|it| kinds.contains(&&*it.kind));
    let granted = first(&GRANTS).is_some();
    let status = if granted {
        "granted"
    } else if has(commands, "decline") {
        "declined"
    } else if has(commands, "cancel") {
        "cancelled"
    } else {
        let taken = STEPS.iter().rposition(|step| has(commands, step));
        taken.map_or("none", |step| STATUSES[step])
    };
    let at = |command: Option<&Accepted>| command.and_then(|it| it.at.clone());
    let every: Vec<&Accepted> = commands.iter().collect();
    let mut work = counts(&WORK, &every);
    work["open"] = open_work(commands);
    work["open_more"] = 0.into();
    json!({
        "id": id,
        "status": status,
        "amount": amount(commands),
        "granted": granted.then(|| amount(commands)),
        "approved": has(commands, "approve"),
        "registered": has(commands, "register"),
        "activated": has(commands, "activate"),
        "offers": offers(commands),
        "work": work,
        "events": commands.len(),
        "submitted_at": at(first(&["submit"])),
        "finished_at": at(first(&["approve", "register", "activate", "decline", "cancel"])),
        "last_at": at(commands.last()),
    })
}

/// The current stage of offers: those that entered a stage minus those that left it.
fn offers(commands: &[Accepted]) -> Value {
    let count = |kind: &str| commands.iter().filter(|it| it.kind == kind).count();
    let (mut sent, mut returned) = (0, 0);
    for command in commands {
        match &*command.kind {
            "send-offer" => sent += 1,
            "return-offer" => (sent, returned) = (sent - 1, returned + 1),
            "accept-offer" | "cancel-offer" | "decline-offer" if returned > 0 => returned -= 1,
            "accept-offer" | "cancel-offer" | "decline-offer" => sent -= 1,
            _ => {}
        }
    }
    json!({
        "selected": count("select-offer") - count("create-offer"),
        "created": count("create-offer") - count("send-offer"),
        "sent": sent,
        "returned": returned,
        "accepted": count("accept-offer"),
        "cancelled": count("cancel-offer"),
        "declined": count("decline-offer"),
    })
}

/// Items that were started more often than completed, and the difference.
fn open_work(commands: &[Accepted]) -> Value {
    let mut open: BTreeMap<&str, i64> = BTreeMap::new();
    for command in commands {
        match &*command.kind {
            "start-work" => *open.entry(item(command)).or_default() += 1,
            "complete-work" => *open.entry(item(command)).or_default() -= 1,
            _ => {}
        }
    }
    open.retain(|_, times| *times > 0);
    assert!(
        open.len() <= 256,
        "the books support at most 256 open items"
    );
    json!(open)
}

/// The number of commands of some kinds, under the names they are counted as.
fn counts(kinds: &[(&str, &str)], commands: &[&Accepted]) -> Value {
    let count = |kind: &str| commands.iter().filter(|it| it.kind == kind).count();
    let named = kinds.iter().map(|(kind, name)| (*name, count(kind)));
    json!(named.collect::<BTreeMap<_, _>>())
}

fn has(commands: &[Accepted], kind: &str) -> bool {
    commands.iter().any(|it| it.kind == kind)
}

fn amount(commands: &[Accepted]) -> u64 {
    let submitted = commands.iter().find(|it| it.kind == "submit");
    submitted
        .and_then(|it| it.data["amount"].as_u64())
        .unwrap_or(0)
}

fn item(command: &Accepted) -> &str {
    command.data["item"].as_str().unwrap_or_default()
}
