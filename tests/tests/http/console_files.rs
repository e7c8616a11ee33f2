//! The files of the console, and how much a browser loads.

use quipu_server::Options;
use quipu_tests::Place;

use crate::console::{POLICY, filled};
use crate::server::Server;

#[tokio::test]
async fn browsers_cache_the_files_of_the_console() {
    let server = Server::empty().await;
    let text = server.get("/console").await.text;
    for name in ["console.css", "console.js", "icon.svg"] {
        let end = text.find(name).unwrap() + name.len();
        let begin = text[..end].rfind('"').unwrap() + 1;
        let answer = server.get(&text[begin..end]).await;
        assert_eq!(answer.status, 200, "{name}");
        assert!(answer.header("cache-control").contains("immutable"));
        assert_eq!(answer.header("content-security-policy"), POLICY);
    }
    assert_eq!(
        server.get("/console/assets/0/console.css").await.status,
        404
    );
}

#[tokio::test]
async fn the_first_page_has_at_most_120_kb_with_everything_that_it_loads() {
    let server = filled(&Place::memory(), Options::default()).await;
    let text = server.get("/console").await.text;
    let mut bytes = vec![("/console".to_owned(), text.len())];
    for attribute in [" href=\"/console/assets/", " src=\""] {
        for (at, _) in text.match_indices(attribute) {
            let (_, rest) = text[at..].split_once('"').unwrap();
            let (path, _) = rest.split_once('"').unwrap();
            let asset = server.get(path).await;
            assert_eq!(asset.status, 200, "{path}");
            // A file would load others from these.
            for word in ["url(", "@import", "import "] {
                assert!(!asset.text.contains(word), "{path} has {word}");
            }
            bytes.push((path.to_owned(), asset.text.len()));
        }
    }
    assert_eq!(bytes.len(), 4, "{bytes:?}");
    let all: usize = bytes.iter().map(|(_, bytes)| bytes).sum();
    assert!(all <= 120_000, "{all}: {bytes:?}");
}
