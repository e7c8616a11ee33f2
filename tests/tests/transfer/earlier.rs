//! Stores that earlier programs wrote, with something in every table: what they have is there after
//! the migration, and can be proved. Each store is `tests/fixtures/store-SCHEMA` with its database's
//! ending.
//!
//! After a change of the schema, the first test here writes the stores of the new one:
//!
//! ```sh
//! QUIPU_FIXTURES=$PWD/tests/fixtures cargo test --test transfer -- --ignored write_stores
//! ```
//!
//! The stores of schema 12 have the rows of those of schema 16, without the tables and columns that
//! later migrations added.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use quipu::access::{Grant, NewToken, Role};
use quipu::deploy::ProjectionChanges;
use quipu::engine::Append;
use quipu::model::{Context, Lifecycle, OnError, Position, SettingsChange, Timestamp, Version};
use quipu::proof::Scope;
use quipu::propose::NewProposal;
use quipu::store::{self, AuditEntry, RejectionFilter, Role as Build};
use quipu::subscribe::Owner;
use quipu::{Demand, Deploy, Host};
use quipu_tests::loan_documents::fresh;
use quipu_tests::postgres::Server;
use quipu_tests::probe::probe;
use quipu_tests::{Place, build};
use serde_json::{Value, json};

use super::fixtures::unpacked;
use crate::{assert_same, exported, import};

/// Schema versions of which there are stores.
const SCHEMAS: [u32; 2] = [12, 16];
/// The first schema version with proposals.
const PROPOSALS: u32 = 14;
/// The schema of the stores of PostgreSQL.
const SCHEMA: &str = "bank";
const LEASE: Duration = Duration::from_secs(3_600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes the stores of the present schema"]
async fn write_stores() {
    let folder = std::env::var_os("QUIPU_FIXTURES").expect("QUIPU_FIXTURES names a folder");
    let folder = PathBuf::from(folder);
    let version = SCHEMAS[SCHEMAS.len() - 1];
    let place = Place::sqlite();
    fill(&place.bank().await).await;
    let file = place.url().strip_prefix("sqlite:").unwrap();
    pack(&folder, version, "db", &std::fs::read(file).unwrap());
    let server = Server::start();
    let place = Place::at(&server.url(SCHEMA));
    fill(&place.bank().await).await;
    pack(&folder, version, "sql", &server.dump(SCHEMA));
}

fn pack(folder: &Path, version: u32, ending: &str, bytes: &[u8]) {
    let file = std::fs::File::create(folder.join(format!("store-{version}.{ending}.gz"))).unwrap();
    let mut packed = GzEncoder::new(file, Compression::best());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap();
}

/// Fills a store on which the guest `account` is active: positions 1 to 9.
async fn fill(host: &Host) {
    let account = build::stream("account-1");
    let mut open = build::command_as("open-1", "open", r#"{"owner":"ann"}"#);
    open.metadata = Some(r#"{"from":"branch"}"#.into());
    open.context.principal = Some("teller".into());
    host.execute(&account, open).await.unwrap();
    host.execute(&account, build::deposit(5)).await.unwrap();
    host.execute(&account, build::withdraw(1)).await.unwrap();
    host.execute(&account, build::withdraw(1_000))
        .await
        .unwrap_err();
    let notes = probe("note")
        .event("noted", 1)
        .projection("notes", 1, json!({"keys": "body"}));
    let digest = host
        .upload(notes.component())
        .await
        .unwrap()
        .module
        .digest();
    let park = SettingsChange {
        lifecycle: Some(Lifecycle::Async),
        on_error: Some(OnError::Park),
    };
    let projections = ProjectionChanges {
        changes: BTreeMap::from([("notes".to_owned(), park)]),
        ..ProjectionChanges::default()
    };
    let deploy = Deploy::new(digest).preflight(Demand::Skip).by("ops");
    host.deploy(deploy.projections(projections)).await.unwrap();
    for note in [
        json!({"n": 1, "keys": ["a"]}),
        json!({"n": 2, "keys": ["a", "b"]}),
        json!({"keys": ["a"], "bad": {"apply": "bad-event", "key": "a"}}),
    ] {
        let append = Append {
            events: vec![build::event("noted", &note.to_string())],
            into_owned_category: true,
            ..Append::default()
        };
        host.append(&build::stream("note-1"), append).await.unwrap();
    }
    let paper = build::append(vec![
        build::tagged(&["blue"]),
        build::event("filed", "1.50"),
    ]);
    host.append(&build::stream("paper-1"), paper).await.unwrap();
    host.snapshot(&account).await.unwrap();
    let paper = build::stream("paper-1");
    host.archive(&paper, Context::default()).await.unwrap();
    let truncated = host.truncate(&account, Version(2), Context::default());
    truncated.await.unwrap();
    fresh(host, "notes").await;
    claim(host).await;
    control(host).await;
    host.clone().shutdown().await.unwrap();
}

async fn claim(host: &Host) {
    let claim = host.claim("mail", None, LEASE).await.unwrap();
    let owner = Owner {
        name: "mail",
        token: claim.token,
        lease: LEASE,
    };
    host.acknowledge_events(owner, Position(3)).await.unwrap();
    host.release("mail", claim.token).await.unwrap();
}

/// A token, a record of the audit, a proposal and a tenant.
async fn control(host: &Host) {
    let new = NewToken {
        name: "reader".to_owned(),
        grant: Grant::of(Role::Viewer),
        expires_at: None,
        by: Some("ops".to_owned()),
    };
    host.tokens().create(new).await.unwrap();
    let entry = AuditEntry {
        at: Timestamp(1),
        principal: Some("ops".into()),
        origin: None,
        operation: "create_token".into(),
        object: "/v1/tokens".into(),
        result: "done".into(),
        reason: Some("first use".into()),
    };
    host.audit().record(entry, None).await.unwrap();
    let account = build::stream("account-1");
    let command = build::command_as("waits-1", "deposit", r#"{"amount":7}"#);
    let proposal = NewProposal {
        preview: host.preview(&account, command, false).await.unwrap(),
        effect: "[]".to_owned(),
        note: Some("a gift".to_owned()),
        expires_after: Duration::from_secs(3_600),
    };
    host.proposals().propose(proposal).await.unwrap();
    let tenant = host.tenants().prepare("shop", Some("ops")).unwrap();
    host.tenants().add(&tenant).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_a_store_of_an_earlier_schema_is_there_and_is_proved() {
    for version in SCHEMAS {
        let place = Place::sqlite();
        let file = place.url().strip_prefix("sqlite:").unwrap();
        std::fs::write(file, unpacked(&stored(version, "db"))).unwrap();
        check(&place, version, 1).await;
        let server = Server::start();
        server.restore(&unpacked(&stored(version, "sql")));
        let place = Place::at(&server.url(SCHEMA));
        let migrated = store::migrate(&place.url().parse().unwrap()).await.unwrap();
        assert_eq!(migrated.from, i64::from(version));
        // Nobody knows what other programs have seen since the dump.
        check(&place, version, 1_000_001).await;
    }
}

fn stored(version: u32, ending: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    std::fs::read(folder.join(format!("store-{version}.{ending}.gz"))).unwrap()
}

/// Checks what [`fill`] stored, and that the history goes on after a gap of positions.
async fn check(place: &Place, version: u32, gap: u64) {
    let host = place.host().await;
    let verified = host.verify(&Scope::default(), &mut |_| {}).await.unwrap();
    assert!(verified.findings.is_empty(), "{verified:?}");
    assert_eq!(verified.digests.unproved, 0, "{verified:?}");
    assert!(verified.digests.proved > 8, "{verified:?}");
    let account = build::stream("account-1");
    let state: Value = serde_json::from_str(&host.state(&account).await.unwrap().state).unwrap();
    assert!(state.to_string().contains('4'), "{state}");
    let event = host.event(Position(1)).await.unwrap().unwrap();
    let command = host.command_of(&event).await.unwrap().unwrap();
    assert_eq!(command.context.principal.as_deref(), Some("teller"));
    assert_eq!(
        command.metadata.as_deref(),
        Some(&br#"{"from":"branch"}"#[..])
    );
    let document = host
        .view("notes", "b", fresh(&host, "notes").await)
        .await
        .unwrap();
    assert!(document.document.contains('2'), "{}", document.document);
    let parked = host.parked("notes", Build::Active, None, 10).await.unwrap();
    assert_eq!(parked.events.len(), 1, "{parked:?}");
    let rejected = host
        .rejections(RejectionFilter::Category("account"), None, 10)
        .await
        .unwrap();
    assert_eq!(rejected.len(), 1);
    let claimed = host.named_subscription("mail").await.unwrap();
    assert_eq!(claimed.position, Position(3));
    check_control(&host, version).await;
    check_export(&host).await;
    let head = host.log_head().await.unwrap();
    let executed = host.execute(&account, build::deposit(2)).await.unwrap();
    assert_eq!(executed.events[0].position.0, head.0 + gap);
    host.shutdown().await.unwrap();
}

/// An export into another store has everything.
async fn check_export(host: &Host) {
    let file = exported(host).await;
    let copy = Place::sqlite();
    let copied = copy.host().await;
    import(&copied, &file).await.unwrap();
    assert_same(&exported(&copied).await, &file);
    copied.shutdown().await.unwrap();
}

async fn check_control(host: &Host, version: u32) {
    let caller = host.tokens().named("reader").await.unwrap();
    assert!(caller.is_some());
    let audit = host.audit().verify().await.unwrap();
    assert!(audit.broken.is_none(), "{audit:?}");
    let proposals = host.proposals().list(None, true, None, 10).await.unwrap();
    let notes: Vec<_> = proposals
        .iter()
        .map(|it| it.proposal.note.as_deref())
        .collect();
    let expected: &[_] = match version >= PROPOSALS {
        true => &[Some("a gift")],
        false => &[],
    };
    assert_eq!(notes, expected);
    let tenants = host.tenants().list().await.unwrap();
    assert_eq!(&*tenants[0].name, "shop");
}
