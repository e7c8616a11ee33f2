use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;

use crate::{Error, Toolchain, dependencies};

/// Cargo's description of the package in a folder.
#[derive(Debug)]
pub(crate) struct Package {
    pub name: String,
    pub manifest: PathBuf,
    pub workspace: PathBuf,
    /// The workspace's target folder.
    pub target: PathBuf,
}

/// The manifest of `dir`, as cargo will name it.
pub(crate) fn manifest(dir: &Path) -> Result<PathBuf, Error> {
    let manifest = dir.join("Cargo.toml");
    manifest.canonicalize().map_err(|error| Error::NotAGuest {
        dir: dir.to_owned(),
        detail: format!("no guest project: Cargo.toml: {error}"),
    })
}

/// Returns cargo's description of the package with this manifest and of its workspace, or cargo's
/// error.
pub(crate) fn metadata(
    toolchain: &Toolchain,
    manifest: &Path,
) -> Result<Result<Value, String>, Error> {
    let output = toolchain
        .cargo()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .args([OsStr::new("--manifest-path"), manifest.as_os_str()])
        .stdin(Stdio::null())
        .output()
        .map_err(Error::io(&toolchain.cargo))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Ok(Err(stderr.trim().to_owned()));
    }
    let metadata = serde_json::from_slice(&output.stdout);
    Ok(metadata.map_err(|error| format!("cargo metadata: {error}")))
}

/// Whether a package has a `cdylib`.
pub(crate) fn has_cdylib(package: &Value) -> bool {
    let targets = package["targets"].as_array().into_iter().flatten();
    let types = targets.filter_map(|target| target["crate_types"].as_array());
    types.flatten().any(|it| it == "cdylib")
}

impl Package {
    /// The package in `dir`, which must have a `cdylib`, and depend on no other guest.
    pub fn read(toolchain: &Toolchain, dir: &Path, manifest: PathBuf) -> Result<Self, Error> {
        let refuse = |detail: String| Error::NotAGuest {
            dir: dir.to_owned(),
            detail,
        };
        let metadata = metadata(toolchain, &manifest)?.map_err(refuse)?;
        let package = Self::from_metadata(&metadata, manifest).map_err(refuse)?;
        match dependencies::path_to_guest(toolchain, &metadata, &package.manifest) {
            Some(path) => Err(Error::DependsOnGuest { path }),
            None => Ok(package),
        }
    }

    fn from_metadata(metadata: &Value, manifest: PathBuf) -> Result<Self, String> {
        let packages = metadata["packages"].as_array().into_iter().flatten();
        let package = packages
            .clone()
            .find(|it| it["manifest_path"].as_str().map(Path::new) == Some(&manifest));
        let Some(package) = package else {
            let names: Vec<_> = packages.filter_map(|it| it["name"].as_str()).collect();
            return Err(format!(
                "a workspace, not a package; name the folder of one of {}",
                names.join(", ")
            ));
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name = text(&package["name"]);
        if !has_cdylib(package) {
            return Err(format!(
                "package {name} is no guest: its Cargo.toml lacks `crate-type = [\"cdylib\"]` under [lib]"
            ));
        }
        Ok(Self {
            name,
            manifest,
            workspace: text(&metadata["workspace_root"]).into(),
            target: text(&metadata["target_directory"]).into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{Options, build, toolchain};

    /// Returns the result of reading a project with this manifest.
    fn read(manifest: &str) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("src")).unwrap();
        fs::write(dir.path().join("src/lib.rs"), "").unwrap();
        fs::write(dir.path().join("Cargo.toml"), manifest).unwrap();
        let toolchain = toolchain::tests::active();
        let manifest = super::manifest(dir.path()).unwrap();
        let package = Package::read(&toolchain, dir.path(), manifest);
        package.map(|it| it.name).map_err(|it| it.to_string())
    }

    #[test]
    fn a_package_with_a_cdylib_is_a_guest() {
        let manifest = "[package]\nname = \"cart\"\n[lib]\ncrate-type = [\"rlib\", \"cdylib\"]\n";
        assert_eq!(read(manifest).unwrap(), "cart");
    }

    #[test]
    fn a_package_without_a_cdylib_is_refused_by_name() {
        let error = read("[package]\nname = \"cart\"\n").unwrap_err();
        assert!(error.contains("package cart is no guest"), "{error}");
        assert!(error.contains("crate-type = [\"cdylib\"]"), "{error}");
    }

    #[test]
    fn a_workspace_is_refused() {
        let error = read("[workspace]\n").unwrap_err();
        assert!(error.contains("a workspace, not a package"), "{error}");
    }

    #[test]
    fn a_folder_without_a_manifest_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        let error = build(&missing, &Options::default())
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(missing.to_str().unwrap()), "{error}");
        assert!(error.contains("Cargo.toml"), "{error}");
    }
}
