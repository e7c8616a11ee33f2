use serde::Serialize;
use serde::de::DeserializeOwned;

use super::run::{Parts, Split, Stage};
use crate::EditError;
use crate::object::{Object, raw};

/// The steps of one [`Upcaster`](crate::Upcaster).
#[derive(Default)]
pub struct Steps(Vec<Step>);

/// One step: it lifts one type of event from one schema version.
#[doc(hidden)]
pub struct Step {
    pub(crate) event_type: &'static str,
    pub(crate) from_version: u32,
    /// Every type and version that the step may produce.
    pub(crate) to: Vec<(&'static str, u32)>,
    pub(super) stages: Vec<Stage>,
    /// None when the step produces one event, or, without a target, no event.
    pub(super) split: Option<Split>,
}

/// A step that is not complete yet: its changes, in order. The last call names the result.
#[must_use = "a step ends with `to`, `split` or `drop`"]
pub struct Lift {
    steps: Steps,
    event_type: &'static str,
    from_version: u32,
    new_type: &'static str,
    stages: Vec<Stage>,
}

impl Steps {
    /// No steps yet.
    pub fn new() -> Self {
        Steps::default()
    }

    /// Begins the step that lifts events of a type, as stored or as an earlier step
    /// left them, from a schema version.
    pub fn lift(self, event_type: &'static str, from_version: u32) -> Lift {
        Lift {
            steps: self,
            event_type,
            from_version,
            new_type: event_type,
            stages: Vec::new(),
        }
    }

    pub(crate) fn as_slice(&self) -> &[Step] {
        &self.0
    }

    pub(super) fn into_vec(self) -> Vec<Step> {
        self.0
    }
}

impl Lift {
    /// Renames the type of the event. [`to`](Self::to) then names a version of the new type.
    pub fn rename_type(mut self, new_type: &'static str) -> Self {
        self.new_type = new_type;
        self
    }

    /// Renames a field of the body. Does nothing without the field. Replaces a field that has the
    /// new name already.
    pub fn rename_field(self, old: &'static str, new: &'static str) -> Self {
        self.edit(move |body| {
            body.rename(old, new);
            Ok(())
        })
    }

    /// Adds a field with that value to the body, unless the body has the field.
    pub fn add_field(self, name: &'static str, default: impl Serialize) -> Self {
        let default = raw(name, default);
        self.edit(move |body| {
            if !body.has(name) {
                body.put(name.to_owned(), default.clone()?);
            }
            Ok(())
        })
    }

    /// Removes a field of the body, if there is one.
    pub fn remove_field(self, name: &'static str) -> Self {
        self.edit(move |body| {
            body.remove(name);
            Ok(())
        })
    }

    /// Changes the body, a JSON object, field by field. An error is reported with the
    /// event's type and version.
    pub fn edit(
        mut self,
        edit: impl Fn(&mut Object) -> Result<(), EditError> + Send + Sync + 'static,
    ) -> Self {
        self.stages.push(Stage::edit(edit));
        self
    }

    /// Maps the body to another form.
    pub fn map<Old: DeserializeOwned, New: Serialize>(
        self,
        map: impl Fn(Old) -> New + Send + Sync + 'static,
    ) -> Self {
        self.try_map(move |old| Ok(map(old)))
    }

    /// Like [`map`](Self::map), for a body that may have no other form. An
    /// error is reported with the event's type and version.
    pub fn try_map<Old: DeserializeOwned, New: Serialize>(
        mut self,
        map: impl Fn(Old) -> Result<New, EditError> + Send + Sync + 'static,
    ) -> Self {
        self.stages.push(Stage::map(map));
        self
    }

    /// Ends the step: the event gets this version, which is a later one unless the
    /// step renames the type.
    pub fn to(self, version: u32) -> Steps {
        let to = vec![(self.new_type, version)];
        self.end(to, None)
    }

    /// Ends the step: each event becomes the parts that `split` pushes, in that order. Without any
    /// part the event is dropped. `to` has every type and version that may be pushed, whatever
    /// [`rename_type`](Self::rename_type) says.
    pub fn split<Old: DeserializeOwned>(
        self,
        to: &[(&'static str, u32)],
        split: impl Fn(Old, &mut Parts) + Send + Sync + 'static,
    ) -> Steps {
        self.end(to.to_vec(), Some(Split::new(split)))
    }

    /// Ends the step: the event is dropped. Its body isn't read.
    pub fn drop(self) -> Steps {
        self.end(Vec::new(), None)
    }

    fn end(self, to: Vec<(&'static str, u32)>, split: Option<Split>) -> Steps {
        let Steps(mut steps) = self.steps;
        steps.push(Step {
            event_type: self.event_type,
            from_version: self.from_version,
            to,
            stages: self.stages,
            split,
        });
        Steps(steps)
    }
}
