//! Texts that users rely on, compared with files in `golden/`.

use std::path::Path;

/// Compares a text with its golden file. With `QUIPU_RENEW=1` in the environment the
/// file is written instead.
pub fn check(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(name);
    if std::env::var_os("QUIPU_RENEW").is_some_and(|renew| renew == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, found).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    let first = golden.lines().zip(found.lines()).position(|(a, b)| a != b);
    assert!(
        golden == found,
        "{} differs from line {}; run with QUIPU_RENEW=1 to rewrite it",
        path.display(),
        first.map_or(golden.lines().count(), |line| line) + 1
    );
}
