use super::{Lift, Route};
use crate::model::{Digest, Name};

/// The way of a stored form of events to a reader: every type and version on the way, and where it
/// goes from there. If two ways are equal, the reader receives equal events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way(Vec<(Name, u32, Hop)>);

/// The next target of an event on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Hop {
    /// The reader, or none.
    End(Route),
    /// A step of this component, which declares these results.
    Step {
        module: Digest,
        index: usize,
        declared: (Name, u32, Vec<(Name, u32)>),
    },
}

impl Way {
    /// Whether the reader receives neither an event nor an error for this form.
    pub fn is_left_out(&self) -> bool {
        matches!(self.0.as_slice(), [(_, _, Hop::End(Route::LeftOut))])
    }

    /// Whether the ways differ at most in the components that run the same declared steps. In that
    /// case only the lifted events can show a difference.
    pub fn is_alike(&self, other: &Self) -> bool {
        let is_alike = |one: &Hop, other: &Hop| match (one, other) {
            (
                Hop::Step { declared: one, .. },
                Hop::Step {
                    declared: other, ..
                },
            ) => one == other,
            (one, other) => one == other,
        };
        let mut pairs = self.0.iter().zip(&other.0);
        self.0.len() == other.0.len()
            && pairs.all(
                |((name, version, one), (other_name, other_version, other))| {
                    name == other_name && version == other_version && is_alike(one, other)
                },
            )
    }

    /// Returns every type and version in which the reader receives events of this form.
    pub fn arrivals(&self) -> impl Iterator<Item = (&Name, u32)> {
        self.0.iter().filter_map(|(_, _, hop)| match hop {
            Hop::End(Route::Reader(name, version)) => Some((name, *version)),
            _ => None,
        })
    }

    /// Returns the version that the reader reads, if an event of this form is too new for it.
    pub fn too_new(&self) -> Option<u32> {
        self.0.iter().find_map(|(_, _, hop)| match hop {
            Hop::End(Route::TooNew(version)) => Some(*version),
            _ => None,
        })
    }

    /// Whether the reader does not know a result of this form, which is an error.
    pub fn is_unknown(&self) -> bool {
        let mut hops = self.0.iter();
        hops.any(|(_, _, hop)| *hop == Hop::End(Route::Unknown))
    }

    /// Returns the version in which the reader receives the form, if that is a later version and no
    /// step leads to it.
    pub fn raised_to(&self) -> Option<u32> {
        match self.0.as_slice() {
            [(_, from, Hop::End(Route::Reader(_, to)))] if from < to => Some(*to),
            _ => None,
        }
    }
}

impl Lift {
    /// Returns the way of a stored form to the reader.
    pub fn way(&self, name: &Name, version: u32) -> Way {
        let mut hops: Vec<(Name, u32, Hop)> = Vec::new();
        let mut ahead = vec![(name.clone(), version)];
        while let Some((name, version)) = ahead.pop() {
            let mut known = hops.iter();
            if known.any(|(known, at, _)| *known == name && *at == version) {
                continue;
            }
            let hop = match self.route(&name, version) {
                Route::Step(step) => {
                    let link = self.chain().link(step);
                    let step = link.step();
                    ahead.extend(step.to.iter().rev().cloned());
                    Hop::Step {
                        module: link.module.digest(),
                        index: link.index,
                        declared: (step.name.clone(), step.from_version, step.to.clone()),
                    }
                }
                end => Hop::End(end),
            };
            hops.push((name, version, hop));
        }
        Way(hops)
    }
}
