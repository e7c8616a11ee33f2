//! The effects of a release on projections: which types the deciders write, and how each projection
//! reads stored events.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::report::Kind;
use crate::deploy::{Plan, Projected, Prospect, Sources, moved};
use crate::model::{MessageType, Name};
use crate::store::TypeUse;
use crate::upcast::Way;

/// A possible objection: its kind, how often it was found, and a description for operators.
pub(super) type PossibleObjection = (Kind, u64, String);

/// Limit for the number of forms that a description names.
const NAMED_MAX: usize = 3;

/// Returns everything to report about the readers of a release. Problems that exist under the
/// current plan too are left out.
pub(super) fn readers(prospect: &Prospect) -> Vec<PossibleObjection> {
    let mut objections = Vec::new();
    let mut raised = BTreeSet::new();
    for category in &prospect.categories {
        deciders(prospect, category, &mut raised, &mut objections);
    }
    for (name, projected) in prospect.next.projections() {
        let reader = Reader::new(prospect, name, projected);
        let categories: BTreeSet<Box<str>> = reader.categories();
        for category in &categories {
            reader.written(category, &mut objections);
            reader.named(category, &mut objections);
        }
        reader.raised(&mut raised, &mut objections);
        reader.rebuilt(&mut objections);
    }
    objections
}

/// A stored form, and the version as which it is read.
type Raised = (Arc<str>, Name, u32, u32);

/// Reports stored forms that a decider reads as a later version without an upcaster step to it.
fn deciders(
    prospect: &Prospect,
    category: &str,
    raised: &mut BTreeSet<Raised>,
    objections: &mut Vec<PossibleObjection>,
) {
    let way = |plan: &Plan, form: &TypeUse| -> Option<Way> {
        let deployed = plan.decider(category)?;
        Some(deployed.rules.lift.way(&form.name, form.schema_version))
    };
    for form in forms_of(prospect, category) {
        let to = |plan: &Plan| way(plan, form).and_then(|way| way.raised_to());
        let Some(version) = to(&prospect.next) else {
            continue;
        };
        raised.insert(place(form, version));
        if to(&prospect.before) != Some(version) && !is_unchanged(&prospect.next, form) {
            objections.push(unlifted(form, version, "its decider"));
        }
    }
}

/// A projection under the next plan and under the current one.
struct Reader<'a> {
    prospect: &'a Prospect,
    name: &'a str,
    projected: &'a Projected,
    now: Sources,
    /// How the projection reads today, if it is active.
    before: Option<(&'a Projected, Sources)>,
}

impl<'a> Reader<'a> {
    fn new(prospect: &'a Prospect, name: &'a str, projected: &'a Projected) -> Self {
        let before = prospect.before.projection(name).map(|known| {
            let sources = Sources::new(&prospect.before, known.definition());
            (known, sources)
        });
        Self {
            prospect,
            name,
            projected,
            now: Sources::new(&prospect.next, projected.definition()),
            before,
        }
    }

    /// Returns the categories from which the projection may receive events.
    fn categories(&self) -> BTreeSet<Box<str>> {
        let own = self.projected.definition().sources.iter();
        let own = own.filter_map(|source| source.category.clone());
        let next = self.prospect.next.readers();
        let read = next.filter(|(category, _)| self.now.take(category));
        own.chain(read.map(|(category, _)| category.into()))
            .collect()
    }

    /// Reports types that the decider of a category writes and that are too new for the projection.
    fn written(&self, category: &str, objections: &mut Vec<PossibleObjection>) {
        for event in writes(&self.prospect.next, category) {
            let too_new = |sources: &Sources| {
                let way = sources.way(category, &event.name, event.schema_version)?;
                let unknown = way.is_unknown().then_some(0);
                way.too_new().or(unknown)
            };
            let Some(version) = too_new(&self.now) else {
                continue;
            };
            let was_written = writes(&self.prospect.before, category).any(|it| is_same(it, event));
            let before = self.before.as_ref();
            let was = before.and_then(|(_, sources)| too_new(sources));
            if was_written && was.is_some() {
                continue;
            }
            let why = match version {
                0 => "does not know it".to_owned(),
                version => format!("reads version {version}"),
            };
            let (projection, name) = (self.name, &event.name);
            let text = format!(
                "its decider writes {category} events {name} of schema version {}; projection \
                 {projection} {why}",
                event.schema_version
            );
            objections.push((Kind::Projection, 1, text));
        }
    }

    /// Reports types that the projection names but that nobody writes, or of which stored events do
    /// not reach it any more.
    fn named(&self, category: &str, objections: &mut Vec<PossibleObjection>) {
        let (now, before) = (&self.now, self.before.as_ref());
        let next_writes = arriving(now, &self.prospect.next, category);
        let wrote = before.map(|(_, sources)| arriving(sources, &self.prospect.before, category));
        let wrote = wrote.unwrap_or_default();
        let is_decided = self.prospect.next.decider(category).is_some();
        let projection = self.name;
        let mut unwritten = Vec::new();
        for name in names(self.projected, category) {
            let is_written = next_writes.contains(name);
            if wrote.contains(name) && !is_written {
                objections.push(self.no_longer_written(category, name));
                continue;
            }
            let was_named =
                before.is_some_and(|(known, _)| names(known, category).any(|it| it == name));
            let mut stored = forms_of(self.prospect, category);
            let is_stored = stored.any(|form| arrives_as(now, form).contains(name));
            if is_decided && !is_written && !was_named && !is_stored {
                unwritten.push(name.as_str());
            }
        }
        if !unwritten.is_empty() {
            let types = unwritten.len() as u64;
            let text = format!(
                "projection {projection} names {category} events {}, which nobody writes, and \
                 which no stored event becomes: release it together with the decider that writes \
                 them",
                unwritten.join(", ")
            );
            objections.push((Kind::Projection, types, text));
        }
        // The projection may leave out events in its next version. That is its own decision.
        let version = self.projected.definition().version;
        let before = before.filter(|(known, _)| known.definition().version == version);
        let Some((_, sources)) = before else {
            return;
        };
        for form in forms_of(self.prospect, category) {
            let is_lost = !arrives_as(sources, form).is_empty() && arrives_as(now, form).is_empty();
            if is_lost {
                let (events, name, version) = (form.events, &form.name, form.schema_version);
                let text = format!(
                    "projection {projection} would no longer be given {events} stored {category} \
                     events {name} of version {version}"
                );
                objections.push((Kind::Projection, events, text));
            }
        }
    }

    /// Describes a type that the projection names and that is not written any more. Either it has
    /// another name now, or it is not needed any more.
    fn no_longer_written(&self, category: &str, name: &Name) -> PossibleObjection {
        let wrote: BTreeSet<&Name> = writes(&self.prospect.before, category)
            .map(|event| &event.name)
            .collect();
        let is_new = |event: &&MessageType| {
            let mut names = event.aliases.iter().chain([&event.name]);
            !names.any(|name| wrote.contains(name))
        };
        let is_left_out = |event: &&MessageType| {
            let way = self.now.way(category, &event.name, event.schema_version);
            way.is_none()
        };
        let next = writes(&self.prospect.next, category);
        let instead: Vec<&str> = next
            .filter(is_new)
            .filter(is_left_out)
            .map(|event| event.name.as_str())
            .take(NAMED_MAX)
            .collect();
        let projection = self.name;
        let text = format!(
            "projection {projection} names {category} events {name}, which its decider would no \
             longer write"
        );
        if instead.is_empty() {
            return (Kind::Unwritten, 1, text);
        }
        let text = format!(
            "{text}; it would write {}, which {projection} does not name: release the two \
             together, or give the new type the alias {name}",
            instead.join(", ")
        );
        (Kind::Projection, 1, text)
    }

    /// Reports stored forms that the projection reads as a later version without an upcaster step
    /// to it. Those that its decider reads in the same way are reported for the decider.
    fn raised(&self, raised: &mut BTreeSet<Raised>, objections: &mut Vec<PossibleObjection>) {
        for form in &self.prospect.stored {
            let to = |sources: &Sources| {
                let way = sources.way(&form.category, &form.name, form.schema_version);
                way.and_then(|way| way.raised_to())
            };
            let Some(version) = to(&self.now) else {
                continue;
            };
            let before = self.before.as_ref();
            let was = before.and_then(|(_, sources)| to(sources));
            if was == Some(version)
                || !raised.insert(place(form, version))
                || is_unchanged(&self.prospect.next, form)
            {
                continue;
            }
            let reader = format!("projection {}", self.name);
            objections.push(unlifted(form, version, &reader));
        }
    }

    /// Reports a rebuild, if stored events are read differently.
    fn rebuilt(&self, objections: &mut Vec<PossibleObjection>) {
        let Some((known, sources)) = &self.before else {
            return;
        };
        if known.definition().version != self.projected.definition().version
            || sources.is_same(&self.now)
        {
            return;
        }
        let moved = moved(sources, &self.now, &self.prospect.stored);
        let moved: Vec<_> = moved.iter().filter(|moved| !moved.is_alike()).collect();
        if moved.is_empty() {
            return;
        }
        let events = moved.iter().map(|moved| moved.form.events).sum();
        let forms = moved.iter().take(NAMED_MAX).map(|moved| {
            let form = &moved.form;
            format!(
                "{} {} of version {}",
                form.category, form.name, form.schema_version
            )
        });
        let forms: Vec<String> = forms.collect();
        let text = format!(
            "projection {} is folded from scratch: {events} stored events are read in another \
             way ({}{})",
            self.name,
            forms.join(", "),
            if moved.len() > NAMED_MAX { ", …" } else { "" }
        );
        objections.push((Kind::Rebuild, events, text));
    }
}

/// Returns the events that the decider of a category writes under a plan.
fn writes<'a>(plan: &'a Plan, category: &str) -> impl Iterator<Item = &'a MessageType> {
    let deployed = plan.decider(category);
    let events = deployed.map(|deployed| deployed.rules.module.manifest().events.as_slice());
    events.unwrap_or_default().iter()
}

fn is_same(one: &MessageType, other: &MessageType) -> bool {
    one.name == other.name && one.schema_version == other.schema_version
}

/// Returns every type as which a projection receives what the decider of a category writes.
fn arriving(sources: &Sources, plan: &Plan, category: &str) -> BTreeSet<Name> {
    let ways = writes(plan, category)
        .filter_map(|event| sources.way(category, &event.name, event.schema_version));
    ways.flat_map(|way| {
        let arrivals = way.arrivals().map(|(name, _)| name.clone());
        arrivals.collect::<Vec<_>>()
    })
    .collect()
}

/// Returns every type as which a projection receives stored events of a form.
fn arrives_as(sources: &Sources, form: &TypeUse) -> BTreeSet<Name> {
    let way = sources.way(&form.category, &form.name, form.schema_version);
    let arrivals = way.map(|way| way.arrivals().map(|(name, _)| name.clone()).collect());
    arrivals.unwrap_or_default()
}

/// Returns the types of a category that a projection names.
fn names<'a>(projected: &'a Projected, category: &'a str) -> impl Iterator<Item = &'a Name> {
    let sources = projected.definition().sources.iter();
    let own = sources.filter(move |source| source.category.as_deref() == Some(category));
    own.flat_map(|source| source.events.iter().map(|(name, _)| name))
}

fn forms_of<'a>(prospect: &'a Prospect, category: &'a str) -> impl Iterator<Item = &'a TypeUse> {
    let stored = prospect.stored.iter();
    stored.filter(move |form| *form.category == *category)
}

fn place(form: &TypeUse, version: u32) -> Raised {
    let (category, name) = (Arc::clone(&form.category), form.name.clone());
    (category, name, form.schema_version, version)
}

/// Whether the decider of the category declares that the form is unchanged.
fn is_unchanged(plan: &Plan, form: &TypeUse) -> bool {
    plan.decider(&form.category).is_some_and(|deployed| {
        let manifest = deployed.rules.module.manifest();
        let since = manifest.unchanged_since(form.name.as_str());
        since.is_some_and(|since| since <= form.schema_version)
    })
}

fn unlifted(form: &TypeUse, version: u32, reader: &str) -> PossibleObjection {
    let TypeUse {
        category,
        name,
        schema_version,
        events,
        ..
    } = form;
    let text = format!(
        "{events} stored {category} events {name} of version {schema_version} would be read as \
         version {version} by {reader}, and no step leads there: add an upcaster, or declare \
         that the form is unchanged"
    );
    (Kind::Unlifted, *events, text)
}
