use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::*;

async fn run(server: &Server, statement: &'static str) {
    server.connect().await.execute(statement).await.unwrap();
}

async fn text(connection: &mut PgConnection, query: &'static str) -> String {
    connection.fetch_one(query).await.unwrap().get(0)
}

fn folder(server: &Server) -> PathBuf {
    let cluster = server.cluster.as_ref().unwrap().lock().unwrap();
    cluster.folder()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shared_server_is_durable_by_default() {
    let mut connection = server().connect().await;
    for setting in ["SHOW fsync", "SHOW synchronous_commit"] {
        assert_eq!(text(&mut connection, setting).await, "on", "{setting}");
    }
    assert_ne!(fresh_schema(), fresh_schema());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn committed_rows_survive_a_crash_and_a_restart() {
    let server = Server::start();
    run(&server, "CREATE TABLE notes (word TEXT)").await;
    run(&server, "INSERT INTO notes VALUES ('one')").await;

    server.stop_immediately();
    assert!(PgConnection::connect(&server.url).await.is_err());
    server.start_again();
    run(&server, "INSERT INTO notes VALUES ('two')").await;
    server.restart();

    let mut connection = server.connect().await;
    let words = "SELECT string_agg(word, ' ' ORDER BY word) FROM notes";
    assert_eq!(text(&mut connection, words).await, "one two");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_backends_ends_only_the_connections_of_clients() {
    let server = Server::start();
    let mut connection = server.connect().await;
    server.kill_backends().await;
    assert!(connection.execute("SELECT 1").await.is_err());
    run(&server, "SELECT 1").await;
}

#[test]
fn a_dropped_server_leaves_no_files_or_processes() {
    let server = Server::start();
    let folder = folder(&server);
    assert!(folder.is_dir());
    drop(server);
    assert!(!folder.exists());
}

/// Run by the test below in a process of its own, which is killed.
#[test]
#[ignore = "runs until it is killed"]
fn server_of_a_process_that_is_killed() {
    let server = Server::start();
    println!("\nfolder {}", folder(&server).display());
    std::thread::park();
}

#[test]
fn a_server_ends_when_its_test_process_is_killed() {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture"])
        .arg("postgres::tests::server_of_a_process_that_is_killed")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = std::io::BufReader::new(process.stdout.take().unwrap());
    let mut lines = std::io::BufRead::lines(output).map(Result::unwrap);
    let folder = lines.find_map(|line| line.strip_prefix("folder ").map(PathBuf::from));
    let folder = folder.unwrap();
    let server = std::fs::read_to_string(folder.join("data/postmaster.pid")).unwrap();
    let server = PathBuf::from("/proc").join(server.lines().next().unwrap());
    assert!(server.exists());

    process.kill().unwrap();
    process.wait().unwrap();

    let start = std::time::Instant::now();
    while server.join("exe").exists() || folder.exists() {
        assert!(start.elapsed().as_secs() < 30, "{} lives", server.display());
        std::thread::yield_now();
    }
}
