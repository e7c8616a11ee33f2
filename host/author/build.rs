//! Puts the guest SDKs into the program, so that `quipu new` needs no registry.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// The parts of an SDK: a folder of the repository, and its place in a project.
const SDKS: [(&str, &[(&str, &str)]); 3] = [
    (
        "RUST",
        &[
            ("guest-sdk/src", "quipu-guest/src"),
            ("guest-sdk/macros/src", "quipu-guest-macros/src"),
        ],
    ),
    ("NODE", &[("guest-sdk/js", "quipu-guest")]),
    ("PYTHON", &[("guest-sdk/python", "quipu-guest")]),
];

/// Folders that are not part of an SDK.
const LEFT_OUT: [&str; 8] = [
    "node_modules",
    "test",
    "tests",
    "__pycache__",
    ".venv",
    "dist",
    "quipu_guest.egg-info",
    "target",
];
/// Extensions of the files of an SDK.
const EXTENSIONS: [&str; 10] = [
    "rs", "toml", "js", "mjs", "ts", "json", "md", "py", "wit", "typed",
];

fn main() {
    // Asked when it runs, because the folder may have been moved since it was compiled.
    let package = env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let root = Path::new(&package).join("../..");
    let root = fs::canonicalize(root).expect("the repository is there");
    let mut text = String::new();
    for (name, parts) in SDKS {
        text.push_str(&format!("pub(super) const {name}: &[(&str, &[u8])] = &[\n"));
        for (from, to) in parts {
            let from = root.join(from);
            // The whole folder: a file that is added must get into the program, too.
            println!("cargo::rerun-if-changed={}", from.display());
            let mut files = Vec::new();
            collect(&from, &mut files);
            files.sort_unstable();
            for file in files {
                let path = file.strip_prefix(&from).expect("it lies in the folder");
                let path = Path::new(to)
                    .join(path)
                    .display()
                    .to_string()
                    .replace('\\', "/");
                text.push_str(&format!("    ({path:?}, include_bytes!({file:?})),\n"));
            }
        }
        text.push_str("];\n");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("sdk_files.rs"), text).expect("the output folder can be written");
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    for entry in entries {
        let entry = entry.unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            if !LEFT_OUT.contains(&name.as_str()) {
                collect(&path, files);
            }
            continue;
        }
        let extension = path
            .extension()
            .and_then(|it| it.to_str())
            .unwrap_or_default();
        if EXTENSIONS.contains(&extension) || name == "LICENSE" {
            files.push(path);
        }
    }
}
