use std::sync::Arc;

use crate::model::{Name, RecordedEvent, StoredAs};
use crate::runtime::{FoldEvent, Lifted};
use crate::store::LoadedEvent;

/// An event that can be lifted.
pub trait Liftable: Sized {
    /// Type of the event.
    fn name(&self) -> &Name;

    /// Schema version of the event.
    fn schema_version(&self) -> u32;

    /// Returns the event as input for an upcaster.
    fn fold(&self) -> FoldEvent<'_>;

    /// Changes the name and version. The data does not change.
    fn relabel(&mut self, name: &Name, schema_version: u32);

    /// Returns the same event with new contents, as part `part` of `parts`.
    fn lifted(&self, to: Lifted, part: u32, parts: u32) -> Self;
}

impl Liftable for LoadedEvent {
    fn name(&self) -> &Name {
        &self.name
    }

    fn schema_version(&self) -> u32 {
        self.schema_version
    }

    fn fold(&self) -> FoldEvent<'_> {
        FoldEvent {
            name: &self.name,
            schema_version: self.schema_version,
            version: self.version,
            recorded_at: self.recorded_at,
            body: &self.body,
        }
    }

    fn relabel(&mut self, name: &Name, schema_version: u32) {
        if self.name != *name {
            self.name = name.clone();
        }
        self.schema_version = schema_version;
    }

    fn lifted(&self, to: Lifted, part: u32, _: u32) -> Self {
        Self {
            name: to.name,
            schema_version: to.schema_version,
            version: self.version,
            recorded_at: self.recorded_at,
            body: to.body,
            command_id: self.command_id.clone().filter(|_| part == 0),
        }
    }
}

impl Liftable for RecordedEvent {
    fn name(&self) -> &Name {
        &self.name
    }

    fn schema_version(&self) -> u32 {
        self.schema_version
    }

    fn fold(&self) -> FoldEvent<'_> {
        self.into()
    }

    fn relabel(&mut self, name: &Name, schema_version: u32) {
        if self.name == *name && self.schema_version == schema_version {
            return;
        }
        self.stored_as = Some(Box::new(StoredAs::of(self, 0, 1)));
        self.name = name.clone();
        self.schema_version = schema_version;
    }

    fn lifted(&self, to: Lifted, part: u32, parts: u32) -> Self {
        Self {
            name: to.name,
            schema_version: to.schema_version,
            body: to.body,
            stored_as: Some(Box::new(StoredAs::of(self, part, parts))),
            ..self.clone()
        }
    }
}

/// The event is copied only if it changes and is shared.
impl Liftable for Arc<RecordedEvent> {
    fn name(&self) -> &Name {
        &self.name
    }

    fn schema_version(&self) -> u32 {
        self.schema_version
    }

    fn fold(&self) -> FoldEvent<'_> {
        (&**self).into()
    }

    fn relabel(&mut self, name: &Name, schema_version: u32) {
        if self.name != *name || self.schema_version != schema_version {
            Self::make_mut(self).relabel(name, schema_version);
        }
    }

    fn lifted(&self, to: Lifted, part: u32, parts: u32) -> Self {
        Self::new((**self).lifted(to, part, parts))
    }
}
