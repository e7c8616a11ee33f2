//! A connection that is lost after the server has committed and before it could answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quipu::model::ExpectedVersion::Any;
use quipu::model::{Body, Digest, Timestamp, Version};
use quipu::store::{self, Activation, Change, Item, Mark, Outcome, Role, Store, StoredSnapshot};
use quipu_tests::build;
use quipu_tests::counting::{Counting, all, counts, stored};
use quipu_tests::postgres::{Server, fresh_schema};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const STREAM: &str = "note-1";

/// A proxy to the server that loses the answer to the next `COMMIT` on request.
struct Way {
    port: u16,
    loses: Arc<AtomicBool>,
}

impl Way {
    async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let way = Self {
            port: listener.local_addr().unwrap().port(),
            loses: Arc::default(),
        };
        let loses = Arc::clone(&way.loses);
        tokio::spawn(async move {
            // This runs until the server stops.
            while let Ok((client, _)) = listener.accept().await
                && let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await
            {
                let loses = Arc::clone(&loses);
                // A connection often ends with an error.
                tokio::spawn(async move { _ = relay(client, server, &loses).await });
            }
        });
        way
    }
}

async fn relay(
    mut client: TcpStream,
    mut server: TcpStream,
    loses: &AtomicBool,
) -> std::io::Result<()> {
    let (mut request, mut response) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            count = client.read(&mut request) => {
                let request = &request[..count?];
                if request.is_empty() {
                    return Ok(());
                }
                server.write_all(request).await?;
                let commits = request.windows(7).any(|text| text == b"COMMIT\0");
                if commits && loses.swap(false, Ordering::SeqCst) {
                    _ = server.read(&mut response).await?;
                    return Ok(());
                }
            }
            count = server.read(&mut response) => {
                let response = &response[..count?];
                if response.is_empty() {
                    return Ok(());
                }
                client.write_all(response).await?;
            }
        }
    }
}

/// Two stores on one schema: one whose answers can be lost, and one without the proxy.
struct Stores {
    way: Way,
    lossy: Store,
    other: Store,
    _server: Server,
}

impl Stores {
    async fn open() -> Self {
        let server = Server::start();
        let url = server.url(&fresh_schema());
        let port: u16 = {
            let rest = url.rsplit_once(':').unwrap().1;
            rest.split_once('/').unwrap().0.parse().unwrap()
        };
        let way = Way::to(port).await;
        let lossy = url.replace(&format!(":{port}/"), &format!(":{}/", way.port));
        Self {
            lossy: store::open(&lossy.parse().unwrap()).await.unwrap(),
            other: store::open(&url.parse().unwrap()).await.unwrap(),
            way,
            _server: server,
        }
    }

    /// Commits an item whose answer is lost.
    async fn commit(&mut self, item: Item) -> Outcome {
        self.way.loses.store(true, Ordering::SeqCst);
        let mut outcomes = self.lossy.writer.commit(&[item], None).await.unwrap();
        assert!(!self.way.loses.load(Ordering::SeqCst), "nothing was lost");
        outcomes.pop().unwrap()
    }

    /// The versions of the streams of notes and of marks.
    async fn versions(&self) -> [u64; 2] {
        let mut versions = [0; 2];
        for (version, id) in versions.iter_mut().zip([STREAM, "$streams"]) {
            let head = self.other.reader.head(&build::stream(id)).await.unwrap();
            *version = head.map_or(0, |head| head.version.0);
        }
        versions
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn archiving_whose_answer_was_lost_is_recorded_once() {
    let mut stores = Stores::open().await;
    let noted = [build::noted(STREAM, Any, 9)];
    stores.other.writer.commit(&noted, None).await.unwrap();
    let stream = build::stream(STREAM);
    let body = Body::json("{}".to_owned()).unwrap();
    let anchor = StoredSnapshot::new(&stream, Version(5), 1, &body, Digest([7; 32]), Timestamp(1));
    let truncated = |before| Change::Truncated {
        before: Version(before),
        anchor: Box::new(anchor.clone()),
    };
    for (turn, (change, before)) in [(truncated(3), 3), (truncated(4), 4), (Change::Whole, 0)]
        .into_iter()
        .enumerate()
    {
        let events = vec![build::event("marked", "{}")];
        let outcome = stores
            .commit(Item::Mark(Mark {
                stream: stream.clone(),
                change,
                write: build::write("$streams", Any, build::commit(None, events)),
            }))
            .await;
        let head = stores.other.reader.log_head().await.unwrap();
        assert!(
            matches!(outcome, Outcome::Marked(Some(position)) if position == head),
            "{outcome:?}"
        );
        assert_eq!(stores.versions().await, [9, turn as u64 + 1]);
        let head = stores.other.reader.head(&stream).await.unwrap().unwrap();
        assert_eq!(head.truncated_before.0, before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_on_locked_streams_whose_answer_was_lost_is_stored_once() {
    let mut stores = Stores::open().await;
    let noted = || build::noted(STREAM, Any, 1);
    for round in 0..3 {
        // The first store's cached version of the stream is wrong now: it locks the stream and
        // checks.
        stores.lossy.writer.commit(&[noted()], None).await.unwrap();
        stores.other.writer.commit(&[noted()], None).await.unwrap();
        let outcome = stores.commit(noted()).await;
        let Outcome::Appended(appended) = &outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(appended[0].first_version.0, 3 * round + 3);
        assert_eq!(stores.versions().await, [3 * round + 3, 0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_with_documents_whose_answer_was_lost_is_folded_once() {
    let mut stores = Stores::open().await;
    let begun = stores.other.documents.begin(
        "counting",
        Role::Active,
        1,
        Digest([1; 32]),
        (Timestamp(1), 1),
    );
    let build = begun.await.unwrap().unwrap().id;
    let counting = Counting::new(build, |category| category == "note");
    for round in 1..=3 {
        let noted = [build::noted(STREAM, Any, 2)];
        stores.way.loses.store(true, Ordering::SeqCst);
        let lossy = &mut stores.lossy.writer;
        let outcomes = lossy.commit(&noted, Some(&counting)).await.unwrap();
        assert!(!stores.way.loses.load(Ordering::SeqCst), "nothing was lost");
        assert!(
            matches!(&outcomes[0], Outcome::Appended(appended) if appended[0].first_version.0 == 2 * round - 1),
            "{outcomes:?}"
        );
        let events = all(&*stores.other.reader).await;
        assert_eq!(events.len() as u64, 2 * round);
        let documents = stored(&*stores.other.documents, build).await;
        assert_eq!(documents, counts(Default::default(), &events));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_activation_whose_answer_was_lost_increments_the_plan_once() {
    let mut stores = Stores::open().await;
    let digest = Digest([1; 32]);
    let modules = stores.other.modules.clone();
    modules.put(digest, b"x", Timestamp(1)).await.unwrap();
    for plan in 0..3 {
        let outcome = stores
            .commit(Item::Activate(Box::new(Activation {
                name: "note".to_owned(),
                digest,
                others: Vec::new(),
                categories: vec!["note".to_owned()],
                trusted: Vec::new(),
                projections: store::ProjectionPlan::default(),
                turns: Vec::new(),
                plan,
                at: Timestamp(9),
                by: None,
                preflight: None,
            })))
            .await;
        assert!(
            matches!(outcome, Outcome::Activated(raised) if raised == plan + 1),
            "{outcome:?}"
        );
        assert_eq!(modules.deployments().await.unwrap().len() as u64, plan + 1);
    }
}
