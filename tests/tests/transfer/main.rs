//! Export and import: imported data, refused files, and interrupted imports.

#![allow(clippy::unwrap_used)]

mod anchors;
mod backup;
mod damage;
mod earlier;
mod fixtures;
mod interruption;
mod random;
mod round_trip;
mod signatures;

use bytes::Bytes;
use futures::stream;
use quipu::Host;
use quipu::model::Position;
use quipu::transfer::{Failed, Imported};
use quipu_tests::Place;

/// The export of a host after a position.
pub async fn exported_after(host: &Host, after: u64) -> Vec<u8> {
    let mut export = host.export(Position(after)).await.unwrap();
    let mut file = Vec::new();
    while let Some(chunk) = export.next().await.unwrap() {
        assert!(chunk.ends_with(b"\n"));
        file.extend_from_slice(&chunk);
    }
    file
}

/// The whole export of a host.
pub async fn exported(host: &Host) -> Vec<u8> {
    exported_after(host, 0).await
}

/// Imports a file, in chunks that end anywhere.
pub async fn import(host: &Host, file: &[u8]) -> Result<Imported, Failed> {
    let chunks: Vec<_> = file
        .chunks(1_000)
        .map(|chunk| Ok::<_, String>(Bytes::copy_from_slice(chunk)))
        .collect();
    host.import(stream::iter(chunks), &mut |_| {}).await
}

/// The error of an import that fails.
pub async fn refused(host: &Host, file: &[u8]) -> String {
    import(host, file).await.unwrap_err().to_string()
}

/// A file with these lines of truncated streams added; it must not contain them yet.
pub fn with_anchor_lines(file: &str, anchors: &[String]) -> String {
    let (rest, end) = file.trim_end().rsplit_once('\n').unwrap();
    let end = end.replace("\"anchors\":0", &format!("\"anchors\":{}", anchors.len()));
    format!(
        "{}\n",
        [&[rest.to_owned()][..], anchors, &[end]]
            .concat()
            .join("\n")
    )
}

/// A place of every kind.
pub fn every_kind() -> [Place; 2] {
    [Place::sqlite(), Place::postgres()]
}

/// Fails with the first line that differs.
pub fn assert_same(found: &[u8], expected: &[u8]) {
    let (found, expected) = (text(found), text(expected));
    for (number, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "line {}", number + 1);
    }
    assert_eq!(found.lines().count(), expected.lines().count());
    assert!(found == expected);
}

/// A file as text.
pub fn text(file: &[u8]) -> &str {
    std::str::from_utf8(file).unwrap()
}
