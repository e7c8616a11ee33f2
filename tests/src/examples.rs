//! The example guests as components, built once per process.

use std::path::Path;
use std::sync::OnceLock;

use quipu::Host;
use quipu::model::Digest;
use quipu_guest_build::{Options, build};

static ACCOUNT: OnceLock<Vec<u8>> = OnceLock::new();
static LOAN: OnceLock<Vec<u8>> = OnceLock::new();
static LOAN_VIEWS: OnceLock<Vec<u8>> = OnceLock::new();
static LOAN_V2: OnceLock<Vec<u8>> = OnceLock::new();

/// The component of the guest `account`.
pub fn account() -> Vec<u8> {
    ACCOUNT.get_or_init(|| built("account")).clone()
}

/// The component of the guest `loan`.
pub fn loan() -> Vec<u8> {
    LOAN.get_or_init(|| built("loan")).clone()
}

/// The component of the guest `loan-v2`: the same category, with upcasters and a migration for the
/// data that `loan` stored.
pub fn loan_v2() -> Vec<u8> {
    LOAN_V2.get_or_init(|| built("loan-v2")).clone()
}

/// The component of the guest `loan-views`: projections of the events that `loan` stores.
pub fn loan_views() -> Vec<u8> {
    LOAN_VIEWS.get_or_init(|| built("loan-views")).clone()
}

/// Uploads a component and makes it the active one.
pub async fn deploy(host: &Host, component: Vec<u8>) -> Digest {
    let digest = host.upload(component).await.unwrap().module.digest();
    host.activate(digest, None).await.unwrap();
    digest
}

fn built(guest: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../example-guests");
    let options = Options {
        locked: true,
        ..Options::default()
    };
    let built = build(&root.join(guest), &options).unwrap();
    std::fs::read(built.component).unwrap()
}
