//! Semantics 9.7: documents in the order of their keys, or of an index.

use std::sync::Arc;

use quipu::store::{DOCUMENTS_PAGE_MAX, Scan, ScannedDocument};
use quipu_tests::documents::{between, by_key, changed, filled, pages, plain, scanned, written};
use quipu_tests::{Place, on_every_store};

on_every_store! {
    documents_are_scanned_by_key,
    documents_are_scanned_by_index,
    a_scan_can_continue_after_a_document,
    bounds_can_be_bytes_that_are_not_text,
    a_scan_returns_at_most_one_page,
    a_scan_of_large_documents_ends_early,
}

async fn documents_are_scanned_by_key(place: Place) {
    let store = place.open().await.documents;
    let keys = ["a", "aa", "ab", "b", "\u{e9}"];
    let writes = keys.map(|key| plain(key, "1", 8));
    let build = filled(&*store, "a", &writes).await;
    let found = store.scan(build, &by_key()).await.unwrap();
    for (found, key) in found.iter().zip(keys) {
        assert_eq!((&*found.key, &*found.value), (key, key.as_bytes()));
        assert_eq!((&*found.document, found.change), ("1", 8));
    }
    for (from, to, expected) in [
        (None, None, &keys[..]),
        (Some("aa"), None, &keys[1..]),
        (Some("aaa"), None, &keys[2..]),
        (None, Some("ab"), &keys[..3]),
        (Some("aa"), Some("aa"), &keys[1..2]),
        (Some("b"), Some("a"), &[]),
        (Some(""), Some("\u{ea}"), &keys[..]),
    ] {
        let scan = between(None, from.map(str::as_bytes), to.map(str::as_bytes));
        assert_eq!(scanned(&*store, build, &scan).await, expected);
        let down = Scan {
            is_descending: true,
            ..scan
        };
        let mut found = scanned(&*store, build, &down).await;
        found.reverse();
        assert_eq!(found, expected);
    }
}

async fn documents_are_scanned_by_index(place: Place) {
    let store = place.open().await.documents;
    let writes = [
        written("a", "1", 1, &[(0, b"x"), (1, b"\xFF\xFF")]),
        written("b", "2", 2, &[(0, b""), (0, b"x"), (0, b"xy")]),
        written("c", "3", 3, &[(0, b"w\0"), (2, b"x")]),
        plain("d", "4", 4),
    ];
    let build = filled(&*store, "a", &writes).await;
    let value = |found: &ScannedDocument| (found.value.to_vec(), found.key.to_string());
    for (from, to, expected) in [
        (None, None, &["", "w\0", "x", "x", "xy"][..]),
        (Some("x"), Some("x"), &["x", "x"]),
        (Some(""), Some(""), &[""]),
        (Some("w"), Some("x"), &["w\0", "x", "x"]),
        (Some("xz"), None, &[]),
        (Some("z"), Some("a"), &[]),
    ] {
        let scan = between(Some(0), from.map(str::as_bytes), to.map(str::as_bytes));
        let up = store.scan(build, &scan).await.unwrap();
        assert!(
            up.iter()
                .map(|found| &*found.value)
                .eq(expected.iter().map(|it| it.as_bytes()))
        );
        assert!(up.is_sorted_by_key(value));
        let down = Scan {
            is_descending: true,
            ..scan
        };
        let mut down = store.scan(build, &down).await.unwrap();
        down.reverse();
        assert_eq!(down, up);
    }
    let high = between(Some(1), Some(b"\xFF\xFF"), None);
    assert_eq!(scanned(&*store, build, &high).await, ["a"]);
    assert!(
        scanned(&*store, build, &between(Some(9), None, None))
            .await
            .is_empty()
    );
}

async fn a_scan_can_continue_after_a_document(place: Place) {
    let store = place.open().await.documents;
    let writes: Vec<_> = (0..23)
        .map(|n| {
            let value = [b"x", b"y"][usize::from(n % 3 == 0)];
            written(&format!("k{n:02}"), "1", 1, &[(0, value), (0, b"z")])
        })
        .collect();
    let build = filled(&*store, "a", &writes).await;
    for index in [None, Some(0)] {
        for is_descending in [false, true] {
            for (from, to) in [(None, None), (Some(&b"k05"[..]), Some(&b"y"[..]))] {
                let scan = Scan {
                    is_descending,
                    ..between(index, from, to)
                };
                let all = store.scan(build, &scan).await.unwrap();
                for limit in [1, 2, 7, 46] {
                    let mut page = Scan {
                        limit,
                        ..scan.clone()
                    };
                    let mut paged = Vec::new();
                    loop {
                        let found = store.scan(build, &page).await.unwrap();
                        let Some(last) = found.last() else { break };
                        page.after = Some((last.value.clone(), last.key.clone()));
                        assert!(found.len() <= limit);
                        paged.extend(found);
                    }
                    assert_eq!(paged, all, "{page:?}");
                }
            }
        }
    }
    // The document to continue after need not exist, nor be inside the bounds.
    let scan_after = |value: &[u8], key: &str| Scan {
        after: Some((value.into(), Arc::from(key))),
        ..between(Some(0), Some(b"y"), Some(b"y"))
    };
    for (scan, expected) in [
        (scan_after(b"a", "k99"), 8),
        (scan_after(b"y", "k03a"), 6),
        (scan_after(b"z", "k00"), 0),
    ] {
        assert_eq!(scanned(&*store, build, &scan).await.len(), expected);
    }
}

async fn bounds_can_be_bytes_that_are_not_text(place: Place) {
    let store = place.open().await.documents;
    let keys = ["a", "a\u{1}", "b", "\u{e9}", "\u{1F600}"];
    let writes = keys.map(|key| plain(key, "1", 8));
    let build = filled(&*store, "a", &writes).await;
    for (bound, below) in [
        (&b"\xFF"[..], 5),
        (b"a\xFF", 2),
        (b"a\0", 1),
        (b"\0", 0),
        (b"\xC3", 3),
        (b"\xC3\xAA\x80", 4),
        (b"\xF0\x9F", 4),
    ] {
        let from = between(None, Some(bound), None);
        assert_eq!(
            scanned(&*store, build, &from).await,
            keys[below..],
            "{bound:?}"
        );
        let to = between(None, None, Some(bound));
        assert_eq!(
            scanned(&*store, build, &to).await,
            keys[..below],
            "{bound:?}"
        );
    }
    let scan = Scan {
        after: Some((b"a\0"[..].into(), Arc::from("a\0"))),
        ..by_key()
    };
    assert!(store.scan(build, &scan).await.is_ok());
}

async fn a_scan_returns_at_most_one_page(place: Place) {
    let store = place.open().await.documents;
    let writes: Vec<_> = (1..=DOCUMENTS_PAGE_MAX as u64 + 5)
        .map(|n| written(&format!("k{n}"), "1", n, &[(0, b"")]))
        .collect();
    let build = filled(&*store, "a", &writes).await;
    for index in [None, Some(0)] {
        for (limit, expected) in [(0, 0), (1, 1), (usize::MAX, DOCUMENTS_PAGE_MAX)] {
            let scan = Scan {
                index,
                limit,
                ..Scan::default()
            };
            assert_eq!(scanned(&*store, build, &scan).await.len(), expected);
            let changed = changed(&*store, build, 0, limit).await;
            assert_eq!(changed.len(), expected);
        }
    }
}

async fn a_scan_of_large_documents_ends_early(place: Place) {
    let store = place.open().await.documents;
    let large = format!("\"{}\"", "x".repeat(3 << 20));
    let writes: Vec<_> = (0..7)
        .map(|n| written(&format!("k{n}"), &large, n + 1, &[(0, b"")]))
        .collect();
    let build = filled(&*store, "a", &writes).await;
    for index in [None, Some(0)] {
        for is_descending in [false, true] {
            let scan = Scan {
                index,
                is_descending,
                ..by_key()
            };
            let pages = pages(&*store, build, &scan).await;
            let pages: Vec<usize> = pages.iter().map(Vec::len).collect();
            assert_eq!(pages, [3, 3, 1], "{scan:?}");
        }
    }
}
