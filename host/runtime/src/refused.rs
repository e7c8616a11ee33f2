use super::Fault;

/// Why a component is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Larger than any component may be.
    #[error("the component has {found} bytes, at most {max} are accepted")]
    TooLarge {
        /// Its size in bytes.
        found: usize,
        /// What is accepted.
        max: usize,
    },
    /// The bytes are something else.
    #[error("not a component: {0}")]
    NotAComponent(String),
    /// It is not valid, or the compiler gives up.
    #[error("the component does not compile: {0}")]
    DoesNotCompile(String),
    /// It wants more of the host than `quipu:domain/diagnostics`.
    #[error(
        "the component imports {0}: only quipu:domain/diagnostics and interfaces of plain types are allowed; stub what the language's library imports when it is built"
    )]
    ForbiddenImport(String),
    /// It lacks what every component has.
    #[error("the component does not export {0}")]
    MissingExport(String),
    /// It exports an interface of this package that this host does not know.
    #[error(
        "the component exports {0}, which this host does not know: build it against quipu:domain@0.1"
    )]
    UnknownExport(String),
    /// An import or export has the right name and another type.
    #[error("the component does not fit quipu:domain@0.1: {0}")]
    WrongType(String),
    /// The manifest contradicts itself, the exports or the rules.
    #[error("manifest: {0}")]
    Manifest(String),
    /// Its steps contradict each other, its manifest or the rules.
    #[error("upcaster: {0}")]
    Upcaster(String),
    /// Its projections contradict each other or the rules.
    #[error("projection: {0}")]
    Projection(String),
    /// It does not start, or does not say what it is, within the limits.
    #[error("the component can't be asked what it is: {0}")]
    Fault(#[from] Fault),
}
