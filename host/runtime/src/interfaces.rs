//! Checks a component's imports and exports before any of its code runs.

use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::{ComponentInstance, ComponentItem};

use super::bindings::{COMPATIBLE, PACKAGE};
use super::{Export, Refused};

/// The imports and exports of a component.
pub(super) struct Surface {
    pub imports: Vec<String>,
    pub exports: Vec<Export>,
    /// Names of exports that are not the contract's. The host never uses them.
    pub others: Vec<String>,
}

impl Surface {
    /// Reads and checks the imports and exports of a component.
    pub(super) fn of(engine: &Engine, component: &Component) -> Result<Self, Refused> {
        let kind = component.component_type();
        let mut imports = Vec::new();
        for (name, import) in kind.imports(engine) {
            let is_log = interface(name) == Some("diagnostics");
            if !is_log && !is_plain_types(engine, &import.ty) {
                return Err(Refused::ForbiddenImport(name.to_owned()));
            }
            imports.push(name.to_owned());
        }
        let (mut exports, mut has_manifest) = (Vec::new(), false);
        let mut others = Vec::new();
        for (name, export) in kind.exports(engine) {
            if is_plain_types(engine, &export.ty) {
                continue;
            }
            if !name.starts_with(PACKAGE) {
                others.push(name.to_owned());
                continue;
            }
            match interface(name) {
                Some("manifest") => has_manifest = true,
                Some("decider") => exports.push(Export::Decider),
                Some("projection") => exports.push(Export::Projection),
                Some("upcaster") => exports.push(Export::Upcaster),
                _ => return Err(Refused::UnknownExport(name.to_owned())),
            }
        }
        if !has_manifest {
            return Err(Refused::MissingExport("quipu:domain/manifest".to_owned()));
        }
        if exports.is_empty() {
            let wanted = "any of quipu:domain/decider, projection, upcaster";
            return Err(Refused::MissingExport(wanted.to_owned()));
        }
        exports.sort_unstable();
        Ok(Self {
            imports,
            exports,
            others,
        })
    }
}

/// Returns the interface: `decider` for `quipu:domain/decider@0.1.0`. `None` for another package or
/// version.
fn interface(name: &str) -> Option<&str> {
    let (interface, version) = name
        .strip_prefix(PACKAGE)?
        .strip_prefix('/')?
        .split_once('@')?;
    version.starts_with(COMPATIBLE).then_some(interface)
}

/// Whether an import or export contains only types. Bindings import the interfaces whose types they
/// use.
fn is_plain_types(engine: &Engine, item: &ComponentItem) -> bool {
    match item {
        ComponentItem::Type(_) => true,
        ComponentItem::ComponentInstance(instance) => holds_plain_types(engine, instance),
        _ => false,
    }
}

fn holds_plain_types(engine: &Engine, instance: &ComponentInstance) -> bool {
    instance
        .exports(engine)
        .all(|(_, item)| is_plain_types(engine, &item.ty))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_known_in_every_patch_of_its_version_only() {
        for (name, expected) in [
            ("quipu:domain/decider@0.1.0", Some("decider")),
            ("quipu:domain/decider@0.1.7", Some("decider")),
            ("quipu:domain/decider@0.2.0", None),
            ("quipu:domain/decider@0.10.0", None),
            ("quipu:domain/decider", None),
            ("quipu:domainer/decider@0.1.0", None),
            ("wasi:clocks/wall-clock@0.2.6", None),
        ] {
            assert_eq!(interface(name), expected, "{name}");
        }
    }
}
