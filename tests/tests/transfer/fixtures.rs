//! Stores and exports written by earlier programs: seven events of a bank and of notes, with one
//! archived stream and one truncated stream. The stores of PostgreSQL have the rows of those of
//! SQLite, in the tables that PostgreSQL had in the same schema version.

use std::io::Read;

use flate2::read::GzDecoder;
use quipu::model::Position;
use quipu::store;
use quipu::transfer::FORMAT;
use quipu_tests::postgres::Server;
use quipu_tests::{Place, build, on_every_store};

use crate::{assert_same, exported, import, text};

on_every_store!(exports_of_earlier_formats_can_be_imported);

const EXPORT_3: &[u8] = include_bytes!("../../fixtures/export-3.ndjson.gz");
const EXPORT_4: &[u8] = include_bytes!("../../fixtures/export-4.ndjson.gz");
const STORE_5: &[u8] = include_bytes!("../../fixtures/store-5.db.gz");
const STORE_8: &[u8] = include_bytes!("../../fixtures/store-8.db.gz");
const DUMP_5: &[u8] = include_bytes!("../../fixtures/store-5.sql.gz");
const DUMP_8: &[u8] = include_bytes!("../../fixtures/store-8.sql.gz");

pub fn unpacked(packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    bytes
}

/// The export of this program.
fn as_of_today(file: &[u8], format: u64) -> Vec<u8> {
    let file = text(file).replacen(
        &format!("\"format\":{format}"),
        &format!("\"format\":{FORMAT}"),
        1,
    );
    let file = file.replacen("\"plans\":1,", "\"plans\":1,\"dropped\":0,", 1);
    file.into_bytes()
}

async fn check(host: &quipu::Host) {
    assert_eq!(host.log_head().await.unwrap(), Position(7));
    let account = build::stream("account-1");
    let shown = host.state(&account).await.unwrap().state;
    assert!(shown.contains("\"ann\"") && shown.contains('5'), "{shown}");
    // The history can be continued.
    host.execute(&account, build::deposit(2)).await.unwrap();
}

async fn exports_of_earlier_formats_can_be_imported(place: Place) {
    for (format, packed) in [(3, EXPORT_3), (4, EXPORT_4)] {
        let file = unpacked(packed);
        let own = place.another();
        let host = own.host().await;
        import(&host, &file).await.unwrap();
        assert_same(&exported(&host).await, &as_of_today(&file, format));
        check(&host).await;
        host.shutdown().await.unwrap();
    }
}

/// The store has exactly the content of the export, and its history can be continued.
async fn check_content(place: &Place, export: &[u8]) {
    let host = place.host().await;
    assert_same(&exported(&host).await, export);
    check(&host).await;
    host.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_of_earlier_schemas_can_be_migrated_and_opened() {
    for (format, export, store) in [(3, EXPORT_3, STORE_5), (4, EXPORT_4, STORE_8)] {
        let place = Place::sqlite();
        let file = place.url().strip_prefix("sqlite:").unwrap();
        std::fs::write(file, unpacked(store)).unwrap();
        check_content(&place, &as_of_today(&unpacked(export), format)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_of_earlier_schemas_can_be_migrated_on_postgres() {
    for (schema, dump, format, export) in [(5, DUMP_5, 3, EXPORT_3), (8, DUMP_8, 4, EXPORT_4)] {
        let server = Server::start();
        server.restore(&unpacked(dump));
        let place = Place::at(&server.url("bank"));
        let migrated = store::migrate(&place.url().parse().unwrap()).await.unwrap();
        assert_eq!(migrated.from, schema);
        check_content(&place, &as_of_today(&unpacked(export), format)).await;
    }
}
