//! The export that every component has: its manifest.

use std::marker::PhantomData;

use super::report_panics;
use crate::{Manifest, MessageType};

pub use super::generated::manifest::{export, exports};
use exports::quipu::domain::manifest;

/// A component with a manifest.
pub trait Described: 'static {
    fn manifest() -> Manifest;
}

/// Implements the export of a component's manifest.
pub struct Component<D>(PhantomData<D>);

impl<D: Described> manifest::Guest for Component<D> {
    fn describe() -> manifest::Info {
        report_panics();
        let manifest = D::manifest();
        let annotations = manifest.annotations();
        manifest::Info {
            name: manifest.name.to_owned(),
            version: manifest.version.to_owned(),
            state_schema_version: manifest.state_schema_version,
            migrations: manifest.migrations,
            commands: manifest.commands.into_iter().map(message_type).collect(),
            events: manifest.events.into_iter().map(message_type).collect(),
            annotations,
        }
    }
}

fn message_type(message_type: MessageType) -> manifest::MessageType {
    let owned = |name: &'static str| name.to_owned();
    manifest::MessageType {
        type_: message_type.name.to_owned(),
        schema_version: message_type.schema_version,
        aliases: message_type.aliases.into_iter().map(owned).collect(),
        content_type: "application/json".to_owned(),
        json_schema: message_type.json_schema.unwrap_or_default(),
    }
}
