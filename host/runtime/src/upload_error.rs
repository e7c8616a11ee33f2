use super::Fault;

/// Why a component is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The component is too large.
    #[error("the component has {found} bytes, at most {max} are accepted")]
    TooLarge {
        /// Size in bytes.
        found: usize,
        /// Highest size allowed.
        max: usize,
    },
    /// The bytes are not a component.
    #[error("not a component: {0}")]
    NotAComponent(String),
    /// The component is not valid, or the compiler fails.
    #[error("the component does not compile: {0}")]
    DoesNotCompile(String),
    /// The component imports more of the host than `quipu:domain/diagnostics`.
    #[error(
        "the component imports {0}: only quipu:domain/diagnostics and interfaces of plain types are allowed; stub what the language's library imports when it is built"
    )]
    ForbiddenImport(String),
    /// The component lacks a required export.
    #[error("the component does not export {0}")]
    MissingExport(String),
    /// The component exports an interface of this package that this host does not know.
    #[error(
        "the component exports {0}, which this host does not know: build it against quipu:domain@0.1"
    )]
    UnknownExport(String),
    /// An import or export has a known name but the wrong type.
    #[error("the component does not fit quipu:domain@0.1: {0}")]
    WrongType(String),
    /// The manifest contradicts itself, the exports or the rules.
    #[error("manifest: {0}")]
    Manifest(String),
    /// The steps contradict each other, the manifest or the rules.
    #[error("upcaster: {0}")]
    Upcaster(String),
    /// The projections contradict each other or the rules.
    #[error("projection: {0}")]
    Projection(String),
    /// The component can't start, or can't return its manifest, within the limits.
    #[error("the component can't be asked what it is: {0}")]
    Fault(#[from] Fault),
}
