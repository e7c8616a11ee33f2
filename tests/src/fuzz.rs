//! What reads bytes from outside, as functions of arbitrary bytes: none of them may panic, hang or use
//! memory without a bound. `tests/fuzz` runs them under a fuzzer; a test runs a number of random inputs.

mod requests;
mod stored;

use std::path::Path;
use std::sync::OnceLock;

use quipu::model::{Body, Category, Name, PublicKey, StreamId, check_metadata};
use quipu::runtime::{self, Runtime};
use quipu::schema::Schema;
use quipu::store::StoreUrl;
use quipu_author::scenario::Scenarios;
use quipu_identity::{Identities, Names};
use quipu_policy::{Policy, Target};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::issuer::{Key, encoded, now_s};

/// Something that reads bytes from outside.
pub struct Reader {
    /// Its name, which is that of its fuzz target.
    pub name: &'static str,
    /// Reads bytes.
    pub read: fn(&[u8]),
    /// Inputs that it takes, from which others are made.
    pub corpus: fn() -> Vec<Vec<u8>>,
}

/// Everything that reads bytes from outside, but for bodies of HTTP, which a test sends to a server.
pub const READERS: &[Reader] = &[
    Reader {
        name: "names",
        read: names,
        corpus: names_corpus,
    },
    Reader {
        name: "bodies",
        read: bodies,
        corpus: bodies_corpus,
    },
    Reader {
        name: "schemas",
        read: schemas,
        corpus: schemas_corpus,
    },
    Reader {
        name: "scenarios",
        read: scenarios,
        corpus: scenarios_corpus,
    },
    Reader {
        name: "policies",
        read: policies,
        corpus: policies_corpus,
    },
    Reader {
        name: "identities",
        read: identities,
        corpus: identities_corpus,
    },
    Reader {
        name: "tokens",
        read: tokens,
        corpus: tokens_corpus,
    },
    Reader {
        name: "certificates",
        read: certificates,
        corpus: certificates_corpus,
    },
    Reader {
        name: "components",
        read: components,
        corpus: components_corpus,
    },
    Reader {
        name: "queries",
        read: requests::queries,
        corpus: requests::queries_corpus,
    },
    Reader {
        name: "messages",
        read: requests::messages,
        corpus: requests::messages_corpus,
    },
    Reader {
        name: "traces",
        read: requests::traces,
        corpus: requests::traces_corpus,
    },
    Reader {
        name: "imports",
        read: stored::imports,
        corpus: stored::imports_corpus,
    },
    Reader {
        name: "configurations",
        read: stored::configurations,
        corpus: stored::configurations_corpus,
    },
    Reader {
        name: "manifests",
        read: stored::manifests,
        corpus: stored::manifests_corpus,
    },
    Reader {
        name: "snapshots",
        read: stored::snapshots,
        corpus: stored::snapshots_corpus,
    },
];

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(stream) = StreamId::new(text) {
        assert!(text.starts_with(stream.category()), "{text:?}");
        assert!(text.ends_with(stream.key()), "{text:?}");
    }
    _ = Category::new(text);
    _ = Name::new(text);
    _ = text.parse::<PublicKey>();
    _ = text.parse::<StoreUrl>();
    if let Ok(target) = text.parse::<Target>() {
        assert_eq!(target.to_string(), text);
    }
}

fn names_corpus() -> Vec<Vec<u8>> {
    texts(&[
        "loan-1",
        "sqlite:quipu.db",
        "postgres://ann:secret@[::1]:5432/bank?schema=a&sslmode=verify-full",
        "memory:",
        "stream/loan-1",
        "projection/balances",
        "ed25519:AAAA",
    ])
}

fn bodies(bytes: &[u8]) {
    if let Ok(body) = Body::json(bytes.to_vec()) {
        assert!(body.as_json().is_some());
    }
    _ = check_metadata(bytes);
}

fn bodies_corpus() -> Vec<Vec<u8>> {
    texts(&[
        r#"{"amount":1.5e300,"name":"Zo\u00eb \ud83d\ude00","list":[1,-2,null,true]}"#,
        "[[[[[[[[{}]]]]]]]]",
        r#"{"a":"b"}"#,
        "18446744073709551616",
    ])
}

fn schemas(bytes: &[u8]) {
    let (text, data) = halves(bytes);
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    if let Ok(schema) = Schema::new(text) {
        _ = schema.check(data);
    }
}

/// A schema and data, with a zero byte between them.
fn halves(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == 0) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, b"{}"),
    }
}

fn schemas_corpus() -> Vec<Vec<u8>> {
    texts(&[
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\",\"minimum\":1}},\"required\":[\"a\"]}\0{\"a\":1}",
        "{\"$defs\":{\"n\":{\"anyOf\":[{\"type\":\"null\"},{\"$ref\":\"#/$defs/n\"}]}},\"$ref\":\"#/$defs/n\"}\0null",
        "{\"enum\":[1,\"a\",{}],\"oneOf\":[true,false],\"pattern\":\"^a+$\",\"items\":{\"maxLength\":3}}\0[\"abc\"]",
    ])
}

fn scenarios(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        _ = Scenarios::parse(Path::new("scenarios.yaml"), text);
    }
}

fn scenarios_corpus() -> Vec<Vec<u8>> {
    texts(&[
        "stream: account-1\nscenarios:\n  - name: opens\n    when: { open: { owner: ann } }\n    then:\n      - opened: { owner: ann }\n",
        "&a [*a, *a]",
        "a: {b: [c, 'd', \"e\\n\"]}\n---\nf: |\n  g\n",
    ])
}

fn policies(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        _ = Policy::parse(text);
        _ = toml::from_str::<quipu_policy::Cases>(text);
    }
}

fn policies_corpus() -> Vec<Vec<u8>> {
    texts(&[
        "@id(\"a\") permit (principal, action == Action::\"read\", resource in Category::\"loan\") when { principal.hasTag(\"c\") && resource has key };",
        "forbid (principal in Role::\"client\", action in [Action::\"append\"], resource is Stream) unless { 1 + 2 * 3 < 4 || [1,2].contains(1) };",
        "[[case]]\nrole = \"client\"\naction = \"read\"\non = \"store\"\nexpect = \"allow\"\n",
    ])
}

const LISTED: &str = r#"
[[issuer]]
name = "corp"
issuer = "https://login.example.com"
audience = ["quipu"]
algorithms = ["RS256", "ES256", "EdDSA"]
roles_claim = "a.b"
roles = [{ value = "x", role = "client" }]

[[certificate]]
uri = "spiffe://a/b"
role = "viewer"
"#;

fn identities(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        _ = Identities::parse(text, Path::new("/nonexistent"));
    }
}

fn identities_corpus() -> Vec<Vec<u8>> {
    texts(&[LISTED])
}

/// Identities whose keys are in a file, and one of the keys.
fn issued() -> &'static (Identities, Key) {
    static ISSUED: OnceLock<(Identities, Key)> = OnceLock::new();
    ISSUED.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let key = Key::rsa();
        let set = serde_json::json!({ "keys": [key.public("1")] });
        std::fs::write(dir.path().join("keys.json"), set.to_string()).unwrap();
        let line = "audience = [\"quipu\"]\n";
        let text = LISTED.replace(line, &format!("{line}keys_file = \"keys.json\"\n"));
        (Identities::parse(&text, dir.path()).unwrap(), key)
    })
}

fn tokens(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (identities, _) = issued();
    if Identities::is_token(text) {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let verified = runtime.unwrap().block_on(identities.verify(text));
        if let Ok(caller) = verified {
            assert!(caller.name().unwrap().starts_with("corp:"));
        }
    }
}

fn tokens_corpus() -> Vec<Vec<u8>> {
    let (_, key) = issued();
    let claims = serde_json::json!({
        "iss": "https://login.example.com", "aud": "quipu", "sub": "ann", "exp": now_s() + 600, "a": { "b": ["x"] }
    });
    let header = serde_json::json!({ "alg": "RS256", "kid": "1" });
    let unsigned = format!(
        "{}.{}.",
        encoded(r#"{"alg":"none"}"#),
        encoded(claims.to_string())
    );
    vec![
        key.sign(&header, &claims).into_bytes(),
        unsigned.into_bytes(),
    ]
}

fn certificates(bytes: &[u8]) {
    _ = Names::read(bytes);
}

fn certificates_corpus() -> Vec<Vec<u8>> {
    let key = rcgen::KeyPair::generate().unwrap();
    let names = ["a.example".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::CertificateParams::new(names)
        .unwrap()
        .self_signed(&key);
    vec![made.unwrap().der().to_vec()]
}

fn components(bytes: &[u8]) {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| Runtime::new(runtime::Options::default()).unwrap());
    _ = runtime.load(bytes);
}

fn components_corpus() -> Vec<Vec<u8>> {
    let text =
        r#"(component (core module (memory 1) (func (export "f") (result i32) i32.const 1)))"#;
    vec![wat::parse_str(text).unwrap()]
}

/// Changes an input at random: bits, bytes, parts, and words that readers know.
pub fn changed(random: &mut StdRng, corpus: &[Vec<u8>]) -> Vec<u8> {
    const WORDS: &[&[u8]] = &[
        b"{",
        b"}",
        b"[",
        b"]",
        b"\"",
        b"\\u0000",
        b"\0",
        b"\xff",
        b"\xe2\x80\xae",
        b"null",
        b"-1",
        b"1e999",
        b"18446744073709551616",
        b"$ref",
        b"../",
        b"\r\n",
        b": ",
        b"&a *a",
        b"permit",
        b"==",
        b".",
        b"..",
    ];
    let mut bytes = corpus.choose(random).cloned().unwrap_or_default();
    for _ in 0..random.random_range(1..=8) {
        let at = random.random_range(0..=bytes.len());
        match random.random_range(0..7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            1 if at < bytes.len() => bytes[at] = random.random(),
            2 => bytes.truncate(at),
            3 => {
                let word = WORDS.choose(random).copied().unwrap_or_default();
                bytes.splice(at..at, word.iter().copied());
            }
            4 => {
                let end = random.random_range(at..=bytes.len().min(at + 64));
                let part = bytes[at..end].to_vec();
                let times = random.random_range(1..20);
                bytes.splice(at..at, part.repeat(times));
            }
            5 => {
                let end = random.random_range(at..=bytes.len().min(at + 16));
                bytes.drain(at..end);
            }
            _ => {
                let other = corpus.choose(random).cloned().unwrap_or_default();
                let from = random.random_range(0..=other.len());
                bytes.splice(at.., other[from..].iter().copied());
            }
        }
    }
    bytes.truncate(64 << 10);
    bytes
}

/// Lets the reader with a name read bytes.
pub fn read(name: &str, bytes: &[u8]) {
    let reader = READERS.iter().find(|reader| reader.name == name);
    (reader.expect("a reader with this name").read)(bytes);
}
