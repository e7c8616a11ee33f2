use super::{Lift, Route};
use crate::model::{Digest, Name};

/// The way of a stored form of events to a reader: every type and version that it takes on,
/// and where it goes from there. Equal ways give the reader equal events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way(Vec<(Name, u32, Hop)>);

/// Where an event goes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Hop {
    /// To the reader, or nowhere.
    End(Route),
    /// Through a step of this component, which declares these results.
    Step {
        module: Digest,
        index: usize,
        declared: (Name, u32, Vec<(Name, u32)>),
    },
}

impl Way {
    /// Whether the reader is given nothing of the form: neither an event nor an error.
    pub fn is_left_out(&self) -> bool {
        matches!(self.0.as_slice(), [(_, _, Hop::End(Route::LeftOut))])
    }

    /// Whether the ways differ at most in which components take the same declared steps. Then
    /// the events tell whether they differ.
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

    /// Every type, with its version, as which the reader is given something of the form.
    pub fn arrivals(&self) -> impl Iterator<Item = (&Name, u32)> {
        self.0.iter().filter_map(|(_, _, hop)| match hop {
            Hop::End(Route::Reader(name, version)) => Some((name, *version)),
            _ => None,
        })
    }

    /// The version of the reader, where something of the form is too new for it.
    pub fn too_new(&self) -> Option<u32> {
        self.0.iter().find_map(|(_, _, hop)| match hop {
            Hop::End(Route::TooNew(version)) => Some(*version),
            _ => None,
        })
    }

    /// Whether the reader does not know something of the form, and must.
    pub fn is_unknown(&self) -> bool {
        let mut hops = self.0.iter();
        hops.any(|(_, _, hop)| *hop == Hop::End(Route::Unknown))
    }

    /// The version as which the reader is given the form, where that is a later one and no step
    /// leads to it.
    pub fn raised_to(&self) -> Option<u32> {
        match self.0.as_slice() {
            [(_, from, Hop::End(Route::Reader(_, to)))] if from < to => Some(*to),
            _ => None,
        }
    }
}

impl Lift {
    /// The way of a stored form to the reader.
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
