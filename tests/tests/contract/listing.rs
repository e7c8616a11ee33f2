//! Listing streams.

use quipu::model::ExpectedVersion::Any;
use quipu::model::{StreamId, Timestamp};
use quipu::store::{
    ArchivedStreams, EventReader, Item, STREAMS_PAGE_MAX, Store, StreamFilter, StreamInfo,
};
use quipu_tests::{Place, build, on_every_store};

on_every_store! {
    an_empty_store_lists_nothing,
    streams_are_listed_in_the_order_of_their_bytes,
    paging_a_list_never_skips_or_repeats,
    a_list_can_continue_after_any_text,
    a_category_is_the_part_before_the_first_dash,
    archived_streams_are_left_out_unless_requested,
    a_list_shows_the_version_of_each_stream,
    a_page_of_a_list_is_bounded,
    many_archived_streams_do_not_hide_other_streams,
}

/// Ids around the edges of a category.
const IDS: [&str; 20] = [
    "loan",
    "loan-",
    "loan-1",
    "loan-10",
    "loan-2",
    "loan--1",
    "loan-é",
    "loan.x",
    "loan!",
    "loan/1",
    "loan-.",
    "loanx-1",
    "loanx",
    "loa-1",
    "Loan-1",
    "loán-1",
    "-1",
    "zz\u{10FFFF}-1",
    "loan,1",
    "loan-\u{10FFFF}",
];

async fn filled(place: &Place) -> Store {
    let mut store = place.open().await;
    let items: Vec<Item> = IDS.iter().map(|id| build::noted(id, Any, 1)).collect();
    store.writer.commit(&items, None).await.unwrap();
    store
}

fn category(name: &str) -> StreamFilter {
    StreamFilter {
        category: Some(name.into()),
        ..StreamFilter::default()
    }
}

fn archived(archived: ArchivedStreams) -> StreamFilter {
    StreamFilter {
        archived,
        ..StreamFilter::default()
    }
}

/// Every page of a list.
async fn listed(reader: &dyn EventReader, limit: usize, filter: &StreamFilter) -> Vec<StreamInfo> {
    let (mut streams, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = reader
            .streams(after.as_deref(), limit, filter)
            .await
            .unwrap();
        assert!(page.streams.len() <= limit, "{}", page.streams.len());
        streams.extend(page.streams);
        match page.next {
            Some(next) => {
                assert!(after.is_none_or(|after| after < next), "{next} comes again");
                after = Some(next);
            }
            None => return streams,
        }
    }
}

fn ids(streams: &[StreamInfo]) -> Vec<&str> {
    streams.iter().map(|it| it.stream.as_str()).collect()
}

/// The ids that pass, in the order of their bytes.
fn sorted(passes: impl Fn(&StreamId) -> bool) -> Vec<&'static str> {
    let mut ids: Vec<&str> = IDS
        .into_iter()
        .filter(|id| passes(&build::stream(id)))
        .collect();
    ids.sort_unstable_by_key(|id| id.as_bytes());
    ids
}

async fn an_empty_store_lists_nothing(place: Place) {
    let store = place.open().await;
    for filter in [
        StreamFilter::default(),
        category("loan"),
        archived(ArchivedStreams::Only),
    ] {
        assert!(listed(&*store.reader, 10, &filter).await.is_empty());
    }
}

async fn streams_are_listed_in_the_order_of_their_bytes(place: Place) {
    let store = filled(&place).await;
    let streams = listed(&*store.reader, 1_000, &StreamFilter::default()).await;
    assert_eq!(ids(&streams), sorted(|_| true));
}

async fn paging_a_list_never_skips_or_repeats(place: Place) {
    let store = filled(&place).await;
    for limit in 1..=IDS.len() + 1 {
        for filter in [StreamFilter::default(), archived(ArchivedStreams::With)] {
            let streams = listed(&*store.reader, limit, &filter).await;
            assert_eq!(ids(&streams), sorted(|_| true), "{limit}");
        }
        let streams = listed(&*store.reader, limit, &category("loan")).await;
        assert_eq!(
            ids(&streams),
            sorted(|it| it.category() == "loan"),
            "{limit}"
        );
    }
}

async fn a_list_can_continue_after_any_text(place: Place) {
    let store = filled(&place).await;
    let texts = [
        "",
        "a",
        "loan",
        "loan-",
        "loan-1",
        "loan-11",
        "loan.",
        "loan\u{1}",
        "~\n",
        "\u{10FFFF}",
    ];
    for after in texts {
        for filter in [StreamFilter::default(), category("loan")] {
            let page = store
                .reader
                .streams(Some(after), 100, &filter)
                .await
                .unwrap();
            let category = filter.category.as_deref();
            let expected = sorted(|it| {
                it.as_str() > after && category.is_none_or(|category| it.category() == category)
            });
            assert_eq!(ids(&page.streams), expected, "{after:?}");
            assert_eq!(page.next, None);
        }
    }
}

async fn a_category_is_the_part_before_the_first_dash(place: Place) {
    let store = filled(&place).await;
    for name in [
        "loan",
        "loanx",
        "loan.x",
        "loa",
        "Loan",
        "loán",
        "loan!",
        "",
        "lo",
        "loan-",
        "loan-1",
        "none",
        "loan-\u{10FFFF}",
    ] {
        let streams = listed(&*store.reader, 3, &category(name)).await;
        assert_eq!(
            ids(&streams),
            sorted(|it| it.category() == name),
            "{name:?}"
        );
    }
    assert_eq!(
        listed(&*store.reader, 100, &category("loan")).await.len(),
        9
    );
}

async fn archived_streams_are_left_out_unless_requested(place: Place) {
    let mut store = filled(&place).await;
    let gone = ["loan", "loan-10", "loan.x", "loan-\u{10FFFF}"];
    let marks: Vec<Item> = gone.iter().map(|id| build::mark(id, true)).collect();
    store.writer.commit(&marks, None).await.unwrap();
    let is_gone = |it: &StreamId| gone.contains(&it.as_str());
    for limit in [1, 2, 100] {
        for name in [None, Some("loan"), Some("loan.x"), Some("loanx")] {
            let is_of = |it: &StreamId| name.is_none_or(|name| it.category() == name);
            let filter = |archived| StreamFilter {
                category: name.map(Into::into),
                archived,
            };
            let listed = async |archived| {
                let streams = listed(&*store.reader, limit, &filter(archived)).await;
                let ids = streams.iter().map(|it| it.stream.to_string());
                // The stream that records archiving is in none of these categories.
                ids.filter(|it| it != "$streams").collect::<Vec<_>>()
            };
            let with = listed(ArchivedStreams::With).await;
            assert_eq!(with, sorted(is_of));
            let without = listed(ArchivedStreams::Without).await;
            assert_eq!(without, sorted(|it| is_of(it) && !is_gone(it)));
            let only = listed(ArchivedStreams::Only).await;
            assert_eq!(only, sorted(|it| is_of(it) && is_gone(it)));
        }
    }
    store
        .writer
        .commit(&[build::mark("loan", false)], None)
        .await
        .unwrap();
    let only = listed(&*store.reader, 9, &archived(ArchivedStreams::Only)).await;
    assert_eq!(ids(&only), ["loan-10", "loan-\u{10FFFF}", "loan.x"]);
}

async fn a_list_shows_the_version_of_each_stream(place: Place) {
    let mut store = place.open().await;
    let mut later = build::commit(None, build::events(2));
    later.recorded_at = Timestamp(5_000);
    let items = [
        build::noted("a-1", Any, 3),
        build::noted("b-1", Any, 1),
        build::item(None, vec![build::write("b-1", Any, later)]),
    ];
    store.writer.commit(&items, None).await.unwrap();
    store
        .writer
        .commit(&[build::mark("a-1", true)], None)
        .await
        .unwrap();
    let with = archived(ArchivedStreams::With);
    let info = |id: &str, version: u64, at: u64, archived_at: Option<u64>| StreamInfo {
        stream: build::stream(id),
        version: quipu::model::Version(version),
        recorded_at: Timestamp(at),
        archived_at: archived_at.map(Timestamp),
        truncated_before: quipu::model::Version::NONE,
    };
    assert_eq!(
        listed(&*store.reader, 10, &with).await,
        [
            info("$streams", 1, 1_000, None),
            info("a-1", 3, 1_000, Some(1_000)),
            info("b-1", 3, 5_000, None),
        ]
    );
}

async fn a_page_of_a_list_is_bounded(place: Place) {
    let mut store = place.open().await;
    let count = STREAMS_PAGE_MAX + 5;
    let items: Vec<Item> = (0..count)
        .map(|n| build::noted(&format!("note-{n}"), Any, 1))
        .collect();
    store.writer.commit(&items, None).await.unwrap();
    let all = StreamFilter::default();
    let page = store.reader.streams(None, usize::MAX, &all).await.unwrap();
    assert_eq!(page.streams.len(), STREAMS_PAGE_MAX);
    let rest = store
        .reader
        .streams(page.next.as_deref(), usize::MAX, &all)
        .await
        .unwrap();
    assert_eq!((rest.streams.len(), rest.next), (5, None));
    let none = store.reader.streams(None, 0, &all).await.unwrap();
    assert_eq!((none.streams.len(), none.next), (0, None));
}

async fn many_archived_streams_do_not_hide_other_streams(place: Place) {
    let mut store = place.open().await;
    let names: Vec<String> = (0..12_000).map(|n| format!("note-{n:05}")).collect();
    for names in names.chunks(1_000) {
        let items: Vec<Item> = names.iter().map(|it| build::noted(it, Any, 1)).collect();
        store.writer.commit(&items, None).await.unwrap();
        let stays = |it: &&String| ["note-00007", "note-11998"].contains(&it.as_str());
        let marks = names.iter().filter(|it| !stays(it));
        let marks: Vec<Item> = marks.map(|it| build::mark(it, true)).collect();
        store.writer.commit(&marks, None).await.unwrap();
    }
    for limit in [1, 2, 3] {
        let streams = listed(&*store.reader, limit, &category("note")).await;
        assert_eq!(ids(&streams), ["note-00007", "note-11998"], "{limit}");
    }
    let only = listed(&*store.reader, 1_000, &archived(ArchivedStreams::Only)).await;
    assert_eq!(only.len(), names.len() - 2);
}
