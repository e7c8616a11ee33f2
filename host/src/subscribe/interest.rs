use std::collections::{HashMap, HashSet};

use crate::deploy::Plan;
use crate::model::{RecordedEvent, StreamId, Version};
use crate::store::Filter;
use crate::upcast::Form;

/// What a subscription wants: which events concern it, and how it reads them.
#[derive(Debug)]
pub(super) struct Wants {
    pub(super) which: Which,
    pub(super) form: Form,
}

/// Which events concern a subscription.
#[derive(Debug)]
pub(super) enum Which {
    /// Events of the log that match the filter.
    Log(Filter),
    /// The events of a stream.
    Stream(StreamId),
    /// All events, in whole commits.
    Commits,
}

/// Number of a subscription.
pub(super) type SeatId = u64;

/// Finds the subscriptions that wait for an event without checking all of them. Each is indexed by
/// the part of its filter that is likely to be the most selective.
#[derive(Debug, Default)]
pub(super) struct Index {
    all: HashSet<SeatId>,
    named: HashMap<Kind, HashMap<Box<str>, HashSet<SeatId>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Stream,
    Tag,
    Prefix,
    Category,
    Type,
}

impl Wants {
    /// Whether a stored event may concern the subscription, which has processed its stream up to
    /// the version `seen`.
    pub(super) fn admits(&self, event: &RecordedEvent, seen: Version, plan: &Plan) -> bool {
        match &self.which {
            Which::Log(filter) => {
                let is_read_so = self.form == Form::Stored;
                plan.may_admit(filter, event) && !(is_read_so && plan.excludes(filter, event))
            }
            Which::Stream(stream) => event.stream == *stream && event.version > seen,
            Which::Commits => true,
        }
    }

    /// Whether a lifted event concerns the subscription, if the stored event may.
    pub(super) fn takes(&self, event: &RecordedEvent, plan: &Plan) -> bool {
        match (&self.which, self.form) {
            (Which::Log(filter), Form::Lifted) => plan.admits(filter, event),
            _ => true,
        }
    }

    /// Returns the index entries of the subscription. `None` if it has to be checked for every
    /// event.
    fn names(&self) -> Option<(Kind, Vec<&str>)> {
        match &self.which {
            Which::Stream(stream) => Some((Kind::Stream, vec![stream.as_str()])),
            Which::Commits => None,
            Which::Log(filter) => {
                if let Some(tags) = &filter.tags {
                    Some((Kind::Tag, tags.iter().map(|tag| &**tag).collect()))
                } else if let Some(prefix) = &filter.prefix {
                    Some((Kind::Prefix, vec![prefix]))
                } else if let Some(categories) = &filter.categories {
                    Some((Kind::Category, categories.iter().map(|it| &**it).collect()))
                } else {
                    let types = filter.types.as_ref()?;
                    Some((Kind::Type, types.iter().map(|it| it.as_str()).collect()))
                }
            }
        }
    }
}

impl Index {
    pub(super) fn add(&mut self, id: SeatId, wants: &Wants) {
        let Some((kind, names)) = wants.names() else {
            self.all.insert(id);
            return;
        };
        let named = self.named.entry(kind).or_default();
        for name in names {
            match named.get_mut(name) {
                Some(ids) => _ = ids.insert(id),
                None => _ = named.insert(name.into(), HashSet::from([id])),
            }
        }
    }

    pub(super) fn remove(&mut self, id: SeatId, wants: &Wants) {
        let Some((kind, names)) = wants.names() else {
            self.all.remove(&id);
            return;
        };
        let Some(named) = self.named.get_mut(&kind) else {
            return;
        };
        for name in names {
            if let Some(ids) = named.get_mut(name) {
                ids.remove(&id);
                if ids.is_empty() {
                    named.remove(name);
                }
            }
        }
    }

    /// Returns the subscriptions that an event may concern. Some may be returned more than once.
    pub(super) fn candidates(&self, event: &RecordedEvent, plan: &Plan) -> Vec<SeatId> {
        let mut found: Vec<SeatId> = self.all.iter().copied().collect();
        let stream = event.stream.as_str();
        self.collect(Kind::Stream, [stream], &mut found);
        self.collect(Kind::Category, [event.stream.category()], &mut found);
        self.collect(Kind::Type, [event.name.as_str()], &mut found);
        // The names include the one under which the event is stored, which is done already.
        let names = plan.names(event).iter().filter(|name| **name != event.name);
        self.collect(Kind::Type, names.map(|name| name.as_str()), &mut found);
        self.collect(Kind::Tag, event.tags.iter().map(|tag| &**tag), &mut found);
        let ends = stream.char_indices().map(|(at, c)| at + c.len_utf8());
        self.collect(Kind::Prefix, ends.map(|end| &stream[..end]), &mut found);
        found
    }

    fn collect<'a>(
        &self,
        kind: Kind,
        names: impl IntoIterator<Item = &'a str>,
        found: &mut Vec<SeatId>,
    ) {
        let Some(named) = self.named.get(&kind).filter(|named| !named.is_empty()) else {
            return;
        };
        for name in names {
            found.extend(named.get(name).into_iter().flatten());
        }
    }
}
