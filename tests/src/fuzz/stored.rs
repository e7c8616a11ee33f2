//! What files, components and the store hold: lines of exports, manifests, snapshots and
//! configurations.

use std::io::Read;
use std::sync::{Arc, OnceLock};

use flate2::read::GzDecoder;
use quipu::model::{Body, ContentType, Digest, StreamId, Timestamp, Version};
use quipu::runtime::{Functions, Instance, Module, Options, Runtime, Snapshot};
use quipu::store::StoredSnapshot;
use quipu::transfer;

use super::texts;
use crate::{examples, guest};

/// A line of an export.
pub fn imports(bytes: &[u8]) {
    _ = transfer::check_line(bytes);
}

/// The lines of an export of an earlier version. A component is left out, because it is large.
pub fn imports_corpus() -> Vec<Vec<u8>> {
    let packed = include_bytes!("../../fixtures/export-4.ndjson.gz");
    let mut text = String::new();
    GzDecoder::new(&packed[..])
        .read_to_string(&mut text)
        .unwrap();
    let lines = text.lines().filter(|line| line.len() < 8 << 10);
    let lines: Vec<_> = lines.map(|line| line.as_bytes().to_vec()).collect();
    for line in &lines {
        transfer::check_line(line).unwrap();
    }
    lines
}

pub fn configurations(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        _ = quipu_cli::check_configuration(text);
    }
}

pub fn configurations_corpus() -> Vec<Vec<u8>> {
    let reference = include_str!("../../../docs/src/reference/quipu.toml");
    let mut corpus = texts(&[
        "store = \"sqlite:quipu.db\"\n[engine]\nworkers = 4\n[http]\nhosts = [\"a.example\"]\n",
        "[server]\nlisten = \"[::1]:0\"\nconsole = \"read\"\n[tls]\ncertificate = \"a\"\nkey = \"b\"\n",
        "engine = { workers = 1 }\n[http]\nbody_bytes_max = 0x10\n",
    ]);
    corpus.push(reference.as_bytes().to_vec());
    corpus
}

/// Where the skeleton of guests has its manifest, with the texts and types that it points to.
const MANIFEST: usize = 0x400;
const MANIFEST_BYTES: usize = 0x300;

/// A runtime and a component, with the place of its manifest.
struct Described {
    runtime: Runtime,
    component: Vec<u8>,
    at: usize,
}

impl Described {
    /// Functions are compiled once: components differ only in the manifest.
    fn new() -> Self {
        const MARK: u8 = 0xa5;
        let image = "\\a5".repeat(MANIFEST_BYTES);
        let component = guest::decider_with(&format!("(data (i32.const {MANIFEST}) \"{image}\")"));
        let mut places = component.windows(MANIFEST_BYTES);
        let at = places.position(|it| it.iter().all(|byte| *byte == MARK));
        let options = Options {
            functions: Some(Functions::of_last(u64::MAX)),
            ..Options::default()
        };
        Self {
            runtime: Runtime::new(options).unwrap(),
            component,
            at: at.unwrap(),
        }
    }

    fn get() -> &'static Self {
        static DESCRIBED: OnceLock<Described> = OnceLock::new();
        DESCRIBED.get_or_init(Self::new)
    }

    /// Whether a component with this manifest is loaded.
    fn is_loaded(&self, bytes: &[u8]) -> bool {
        let mut component = self.component.clone();
        let image = &mut component[self.at..][..MANIFEST_BYTES];
        image.fill(0);
        let length = bytes.len().min(MANIFEST_BYTES);
        image[..length].copy_from_slice(&bytes[..length]);
        self.runtime.load(&component).is_ok()
    }
}

/// The memory in which a guest describes itself.
pub fn manifests(bytes: &[u8]) {
    _ = Described::get().is_loaded(bytes);
}

pub fn manifests_corpus() -> Vec<Vec<u8>> {
    let mut image = vec![0; MANIFEST_BYTES];
    for (at, text) in [
        (0x400, "probe"),
        (0x410, "1.0.0"),
        (0x420, "go"),
        (0x430, "went"),
        (0x440, "application/json"),
        (0x460, "{\"count\":0}"),
        (0x470, "{}"),
    ] {
        image[at - MANIFEST..][..text.len()].copy_from_slice(text.as_bytes());
    }
    let manifest: &[u32] = &[0x400, 5, 0x410, 5, 1, 0, 0, 0x600, 1, 0x640, 1, 0, 0];
    let command: &[u32] = &[0x420, 2, 1, 0, 0, 0x440, 0x10, 0, 0];
    let event: &[u32] = &[0x430, 4, 1, 0, 0, 0x440, 0x10, 0, 0];
    for (at, numbers) in [(0x500, manifest), (0x600, command), (0x640, event)] {
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes());
        for (offset, byte) in bytes.enumerate() {
            image[at - MANIFEST + offset] = byte;
        }
    }
    assert!(Described::get().is_loaded(&image));
    vec![image]
}

fn account() -> &'static Arc<Module> {
    static ACCOUNT: OnceLock<Arc<Module>> = OnceLock::new();
    ACCOUNT.get_or_init(|| {
        let runtime = Runtime::new(Options::default()).unwrap();
        runtime.load(&examples::account()).unwrap()
    })
}

/// The state of a stream as the store has it: its bytes, and its guest's.
pub fn snapshots(bytes: &[u8]) {
    let stream = StreamId::new("account-1").unwrap();
    let module = account();
    for content_type in ["application/json", "application/octet-stream"] {
        let content_type = ContentType::new(content_type).unwrap();
        let Ok(body) = Body::new(content_type, bytes.to_vec()) else {
            continue;
        };
        let version = module.manifest().state_schema_version;
        let (at, fold) = (Timestamp(1), Digest([0; 32]));
        let mut stored = StoredSnapshot::new(&stream, Version(1), version, &body, fold, at);
        assert!(stored.is_intact(&stream));
        assert_eq!(stored.body().as_ref(), Some(&body));
        stored.data = [bytes, b" "].concat().into();
        assert!(!stored.is_intact(&stream));
        let snapshot = Snapshot {
            state_schema_version: version,
            body,
        };
        let mut instance = Instance::new(module).unwrap();
        if let Ok(aggregate) = instance.open("1", Some(&snapshot)) {
            // A state that the guest has read can be written, unless the guest faults.
            _ = instance.view(&aggregate);
            _ = instance.snapshot(&aggregate);
            instance.close(aggregate);
        }
    }
}

pub fn snapshots_corpus() -> Vec<Vec<u8>> {
    texts(&[
        r#"{"owner":"ann","balance":5,"is_open":true}"#,
        r#"{"balance":18446744073709551616,"owner":null}"#,
        "[1,2,3]",
        "{}",
    ])
}
