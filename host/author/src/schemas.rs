//! The JSON Schemas that a component declares for its commands and events.

use std::collections::HashMap;

use quipu::model::{Body, ContentType, MessageType, Name};
use quipu::schema::{Mismatch, Schema};

/// Compiled schemas of message types, by canonical type. Types without a schema, or with one that
/// can't be checked, are not in it.
pub(crate) struct Schemas(HashMap<Name, (u32, Schema)>);

impl Schemas {
    pub(crate) fn new(types: &[MessageType]) -> Self {
        let compiled = types.iter().filter(|it| is_declared(it)).filter_map(|it| {
            let schema = Schema::new(&it.json_schema).ok()?;
            Some((it.name.clone(), (it.schema_version, schema)))
        });
        Self(compiled.collect())
    }

    /// Checks the data of a message. Data of another schema version than the declared one, data
    /// that is not JSON, and data of a type without a schema match.
    ///
    /// # Errors
    /// At the first place that does not match.
    pub(crate) fn check(&self, name: &Name, version: u32, body: &Body) -> Result<(), Mismatch> {
        match self.0.get(name) {
            Some((declared, schema))
                if *declared == version && body.content_type() == &ContentType::Json =>
            {
                schema.check(body.bytes())
            }
            _ => Ok(()),
        }
    }
}

/// Whether a type has a schema.
pub(crate) fn is_declared(message: &MessageType) -> bool {
    !message.json_schema.is_empty() && message.content_type == ContentType::Json
}
