//! Guests among the dependencies of a guest: the linker could not make one component of both.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{Toolchain, package};

/// The package of the guest SDK.
const SDK: &str = "quipu-guest";

/// Packages by the paths of their manifests, as cargo describes them.
type Packages = HashMap<PathBuf, Value>;

/// Returns the names of the packages from a package to another guest that it depends on, directly
/// or through libraries; none when there is no such guest.
///
/// Only path dependencies are checked, because guests are not published. Dependencies that are
/// optional, for other targets or without default features may export nothing, and are left to the
/// linker.
pub(crate) fn path_to_guest(
    toolchain: &Toolchain,
    metadata: &Value,
    manifest: &Path,
) -> Option<Vec<String>> {
    let mut packages = Packages::new();
    add(&mut packages, metadata);
    let mut seen = HashSet::from([manifest.to_owned()]);
    let mut next = VecDeque::from([(manifest.to_owned(), Vec::new())]);
    while let Some((manifest, mut names)) = next.pop_front() {
        // Cargo itself says what is wrong with a manifest that can't be read.
        let Some(package) = described(toolchain, &mut packages, &manifest) else {
            continue;
        };
        names.push(package["name"].as_str().unwrap_or_default().to_owned());
        if names.len() > 1 && is_guest(&package) {
            return Some(names);
        }
        for dependency in linked(&package) {
            if seen.insert(dependency.clone()) {
                next.push_back((dependency, names.clone()));
            }
        }
    }
    None
}

fn add(packages: &mut Packages, metadata: &Value) {
    for package in metadata["packages"].as_array().into_iter().flatten() {
        if let Some(manifest) = package["manifest_path"].as_str() {
            packages.insert(manifest.into(), package.clone());
        }
    }
}

/// Returns the package with this manifest. Asks cargo when the package is in another workspace.
fn described(toolchain: &Toolchain, packages: &mut Packages, manifest: &Path) -> Option<Value> {
    if !packages.contains_key(manifest) {
        add(
            packages,
            &package::metadata(toolchain, manifest).ok()?.ok()?,
        );
    }
    packages.get(manifest).cloned()
}

/// A package of which `quipu build` makes a component.
fn is_guest(package: &Value) -> bool {
    let dependencies = package["dependencies"].as_array().into_iter().flatten();
    let mut names = dependencies.filter(|it| it["kind"].is_null());
    package::has_cdylib(package) && names.any(|it| it["name"] == SDK)
}

/// Returns the manifests of the path dependencies that are certainly linked.
fn linked(package: &Value) -> impl Iterator<Item = PathBuf> {
    let dependencies = package["dependencies"].as_array().into_iter().flatten();
    let certain = dependencies.filter(|it| {
        it["kind"].is_null()
            && it["target"].is_null()
            && it["optional"] == false
            && it["uses_default_features"] == true
    });
    let folders = certain.filter_map(|it| it["path"].as_str());
    folders.map(|folder| Path::new(folder).join("Cargo.toml"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::toolchain;

    /// A folder with packages, each with its lines under `[lib]` and `[dependencies]`.
    fn folder(packages: &[(&str, &str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, lib, dependencies) in packages {
            let package = dir.path().join(name);
            fs::create_dir_all(package.join("src")).unwrap();
            fs::write(package.join("src/lib.rs"), "").unwrap();
            let manifest = format!(
                "[package]\nname = \"{name}\"\n[lib]\n{lib}\n[dependencies]\n{dependencies}\n[workspace]\n"
            );
            fs::write(package.join("Cargo.toml"), manifest).unwrap();
        }
        dir
    }

    fn found(dir: &tempfile::TempDir, name: &str) -> Option<Vec<String>> {
        let toolchain = toolchain::tests::active();
        let manifest = package::manifest(&dir.path().join(name)).unwrap();
        let metadata = package::metadata(&toolchain, &manifest).unwrap().unwrap();
        path_to_guest(&toolchain, &metadata, &manifest)
    }

    const GUEST: &str = "crate-type = [\"cdylib\", \"rlib\"]";
    const SDK_PATH: &str = "quipu-guest = { path = \"../quipu-guest\" }";

    #[test]
    fn a_guest_among_the_dependencies_is_found_with_the_way_to_it() {
        let offers = format!("{SDK_PATH}\nshared = {{ path = \"../shared\" }}");
        let dir = folder(&[
            ("quipu-guest", "", ""),
            ("loan", GUEST, SDK_PATH),
            (
                "shared",
                "",
                "renamed = { package = \"loan\", path = \"../loan\" }",
            ),
            ("offers", GUEST, &offers),
        ]);
        let names = found(&dir, "offers").unwrap();
        assert_eq!(names, ["offers", "shared", "loan"]);
        assert_eq!(found(&dir, "loan"), None);
    }

    #[test]
    fn libraries_and_guests_that_are_not_linked_are_not_changed() {
        let offers = format!(
            "{SDK_PATH}\nshared = {{ path = \"../shared\" }}\n\
             plain = {{ path = \"../plain\" }}\n\
             bare = {{ path = \"../loan\", package = \"loan\", default-features = false }}\n\
             [dev-dependencies]\nloan = {{ path = \"../loan\" }}"
        );
        let dir = folder(&[
            ("quipu-guest", "", ""),
            ("loan", GUEST, SDK_PATH),
            // This package has types for guests, and exports nothing.
            ("shared", "", SDK_PATH),
            ("plain", GUEST, ""),
            ("offers", GUEST, &offers),
        ]);
        assert_eq!(found(&dir, "offers"), None);
    }
}
