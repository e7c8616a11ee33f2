//! What a recovery contains: the log up to a point, and the other lines as of that point.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use bytes::Bytes;
use serde::Deserialize;

use super::archive::Place;
use super::line::{Commit, Kind, Line, Shared};
use super::marks::Marks;
use super::spool::{Lone, Spool};
use super::until::Until;

/// What a recovery contains.
pub struct Contents {
    until: Until,
    /// The runs of commits and events, up to the end.
    pub log: Vec<Place>,
    /// The last position.
    pub head: u64,
    pub commits: u64,
    pub events: u64,
    /// The time after which nothing is included; none if everything is.
    bound: Option<String>,
    /// The highest plan of an included commit.
    plan: u64,
    /// Commits that are included together, or not at all.
    unit: Unit,
    modules: Vec<Module>,
    plans: BTreeMap<u64, Plan>,
    dropped: BTreeMap<DropKey, Dropped>,
    pub marks: Marks,
    /// The lines of components and of states of streams.
    pub spool: Spool,
}

/// The commits of one append.
#[derive(Default)]
struct Unit {
    places: Vec<Place>,
    shared: Option<Shared>,
    commits: u64,
    events: u64,
    last: u64,
    time: String,
    plan: u64,
}

struct Module {
    id: String,
    time: String,
    line: Lone,
}

struct Plan {
    line: Bytes,
    time: String,
    modules: Vec<String>,
}

/// The order of dropped events in an export: projection, position, documents before streams,
/// subject.
type DropKey = (String, u64, bool, String);

struct Dropped {
    line: Bytes,
    time: String,
}

#[derive(Deserialize)]
struct PlanData {
    plan: u64,
    module: String,
    #[serde(default)]
    others: BTreeMap<String, Option<String>>,
}

#[derive(Deserialize)]
struct DroppedData {
    projection: String,
    position: u64,
    #[serde(default)]
    document: Option<String>,
    #[serde(default)]
    stream: Option<String>,
}

impl Contents {
    pub fn new(until: Until) -> Self {
        let bound = match &until {
            Until::Time(time) => Some(time.clone()),
            Until::End | Until::Position(_) => None,
        };
        Self {
            until,
            log: Vec::new(),
            head: 0,
            commits: 0,
            events: 0,
            bound,
            plan: 0,
            unit: Unit::default(),
            modules: Vec::new(),
            plans: BTreeMap::new(),
            dropped: BTreeMap::new(),
            marks: Marks::default(),
            spool: Spool::default(),
        }
    }

    /// Takes a line of a segment. Lines are taken in their order.
    pub fn take(&mut self, place: Place, line: &Line<'_>, kind: Kind, text: &Bytes) -> Result<()> {
        match kind {
            Kind::Commit => self.commit(place, &line.data()?),
            Kind::Event => {
                self.unit.places.push(place);
                self.unit.events += 1;
                self.unit.last = line.position.unwrap_or_default();
                line.time()?.clone_into(&mut self.unit.time);
                self.marks.event(line)?;
            }
            Kind::Module => {
                let id = line.id.to_string();
                let time = line.time()?.to_owned();
                // It has another signature now.
                self.modules.retain(|module| module.id != id);
                let line = self.spool.put(text)?;
                self.modules.push(Module { id, time, line });
            }
            Kind::Plan => self.plan(line, text)?,
            Kind::Dropped => self.dropped(line, text)?,
            Kind::Archived => self.marks.archived(line)?,
            Kind::Anchor => self.marks.anchor(line, self.spool.put(text)?)?,
            Kind::Begin | Kind::End => {}
        }
        Ok(())
    }

    /// Includes the last commit, if it belongs to it.
    pub fn finish(&mut self) {
        self.include();
    }

    fn commit(&mut self, place: Place, commit: &Commit<'_>) {
        let shared = commit.shared();
        if shared.is_none() || shared != self.unit.shared {
            self.include();
            self.unit.shared = shared;
        }
        self.unit.places.push(place);
        self.unit.commits += 1;
        self.unit.plan = self.unit.plan.max(commit.plan);
    }

    /// Includes the commits that were read, unless they or earlier ones are after the end.
    fn include(&mut self) {
        let unit = std::mem::take(&mut self.unit);
        let is_cut = self.is_cut();
        if unit.events == 0 || is_cut {
            return;
        }
        if !self.until.includes(unit.last, &unit.time) {
            self.bound.get_or_insert(unit.time);
            self.marks.cut_at(self.head);
            return;
        }
        for place in unit.places {
            match self.log.last_mut() {
                Some(last) if (last.segment, last.to) == (place.segment, place.from) => {
                    last.to = place.to;
                }
                _ => self.log.push(place),
            }
        }
        self.head = unit.last;
        self.commits += unit.commits;
        self.events += unit.events;
        self.plan = self.plan.max(unit.plan);
    }

    fn is_cut(&self) -> bool {
        self.marks.is_cut()
    }

    fn plan(&mut self, line: &Line<'_>, text: &Bytes) -> Result<()> {
        let data: PlanData = line.data()?;
        let others = data.others.into_values().flatten();
        let plan = Plan {
            line: text.clone(),
            time: line.time()?.to_owned(),
            modules: std::iter::once(data.module).chain(others).collect(),
        };
        self.plans.insert(data.plan, plan);
        Ok(())
    }

    fn dropped(&mut self, line: &Line<'_>, text: &Bytes) -> Result<()> {
        let data: DroppedData = line.data()?;
        let is_stream = data.stream.is_some();
        let subject = data.stream.or(data.document);
        let subject = subject.context("a dropped event has no subject")?;
        let key = (data.projection, data.position, is_stream, subject);
        let dropped = Dropped {
            line: text.clone(),
            time: line.time()?.to_owned(),
        };
        self.dropped.insert(key, dropped);
        Ok(())
    }

    fn is_in_time(&self, time: &str) -> bool {
        self.bound.as_deref().is_none_or(|bound| time <= bound)
    }

    /// The activations: those of the included commits, and those up to the end.
    fn included_plans(&self) -> impl Iterator<Item = &Plan> {
        let plans = self.plans.iter();
        let plans =
            plans.take_while(|(number, it)| **number <= self.plan || self.is_in_time(&it.time));
        plans.map(|(_, plan)| plan)
    }

    /// The lines of activations.
    pub fn plans(&self) -> Vec<Bytes> {
        self.included_plans()
            .map(|plan| plan.line.clone())
            .collect()
    }

    /// The lines of the components that the activations name, in order of upload.
    pub fn modules(&self) -> Vec<Lone> {
        let plans = self.included_plans();
        let named: BTreeSet<&str> = plans.flat_map(|it| &it.modules).map(|it| &**it).collect();
        let modules = self.modules.iter();
        let digest = |id: &str| id.rsplit('.').next().map(str::to_owned).unwrap_or_default();
        let mut modules: Vec<&Module> = modules
            .filter(|module| named.contains(&*digest(&module.id)))
            .collect();
        modules.sort_by(|one, other| one.time.cmp(&other.time));
        modules.into_iter().map(|module| module.line).collect()
    }

    /// The lines of events that were dropped from projections.
    pub fn dropped_lines(&self) -> Vec<Bytes> {
        let dropped = self.dropped.iter();
        let dropped = dropped.filter(|(key, it)| key.1 <= self.head && self.is_in_time(&it.time));
        dropped.map(|(_, it)| it.line.clone()).collect()
    }
}
