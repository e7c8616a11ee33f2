use crate::model::{Name, Version};
use crate::runtime::{Failure, Fault};

/// Why an event can't be delivered to a reader.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An upcaster faulted.
    #[error("version {version}: {fault}")]
    Fault {
        /// Number of the event in its stream.
        version: Version,
        /// The fault.
        fault: Box<Fault>,
    },
    /// An upcaster can't read the event.
    #[error(
        "version {version}: event {name} of schema version {schema_version} can't be lifted: {text}"
    )]
    Unreadable {
        /// Number of the event in its stream.
        version: Version,
        /// Type of the event.
        name: Name,
        /// Schema version of the event.
        schema_version: u32,
        /// The message of the upcaster.
        text: String,
    },
    /// The reader does not declare the type.
    #[error(
        "version {version}: nobody knows events of type {name} (schema version \
         {schema_version}): deploy a decider that names it, or an upcaster that leads on from it"
    )]
    Unknown {
        /// Number of the event in its stream.
        version: Version,
        /// Type of the event.
        name: Name,
        /// Schema version of the event.
        schema_version: u32,
    },
    /// The reader declares an older version of the type.
    #[error(
        "version {version}: event {name} has schema version {schema_version}, newer than {reads}, \
         which is read: deploy a module that reads it"
    )]
    TooNew {
        /// Number of the event in its stream.
        version: Version,
        /// Type of the event.
        name: Name,
        /// Schema version of the event.
        schema_version: u32,
        /// The version that the reader reads.
        reads: u32,
    },
}

impl Error {
    /// Whether the host failed, and not the upcaster.
    pub fn is_of_host(&self) -> bool {
        matches!(self, Self::Fault { fault, .. } if fault.kind.is_of_host())
    }

    /// Converts the failure of an upcaster at an event.
    pub(super) fn of(version: Version, name: &Name, schema_version: u32, failure: Failure) -> Self {
        match failure {
            Failure::Fault(fault) => Self::Fault {
                version,
                fault: Box::new(fault),
            },
            Failure::UnknownEvent(text) | Failure::BadEvent(text) | Failure::BadSnapshot(text) => {
                Self::Unreadable {
                    version,
                    name: name.clone(),
                    schema_version,
                    text,
                }
            }
        }
    }
}
