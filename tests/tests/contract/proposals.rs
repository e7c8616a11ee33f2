//! Proposed commands.

use std::sync::Arc;

use quipu::model::{
    Command, CommandId, CommandRecord, Context, Digest, ExpectedVersion, Timestamp, Version,
};
use quipu::store::{
    AddedProposal, Decision, PROPOSALS_OPEN_MAX, PROPOSALS_OPEN_OF_ONE_MAX, Proposal,
    ProposalFilter, ProposalResult, Store, StoredProposal,
};
use quipu_tests::{Place, build, on_every_store};

on_every_store! {
    a_proposal_comes_back_as_it_was_stored,
    a_command_id_has_one_proposal_until_it_expires,
    only_an_open_proposal_is_decided_and_only_once,
    the_first_result_counts,
    proposals_are_listed_newest_first,
    the_number_of_open_proposals_is_bounded,
    the_number_of_open_proposals_of_one_principal_is_bounded,
}

const NOW: u64 = 1_700_000_000_000_000;

fn proposal(stream: &str, id: &str) -> Proposal {
    let command = Command::new("open", r#"{"owner":"ann", "n": 1.00}"#).unwrap();
    Proposal {
        stream: build::stream(stream),
        command: Arc::new(CommandRecord {
            id: CommandId::new(id).unwrap(),
            name: command.name,
            schema_version: 2,
            body: command.body,
            metadata: Some(r#"{"a":1}"#.into()),
            context: Context {
                principal: Some("agent é".into()),
                ..Context::default()
            },
            accepted_at: Timestamp(NOW),
            seed: [1, 2, 3, u64::MAX],
        }),
        expected: ExpectedVersion::Any,
        plan: 3,
        module: Digest([7; 32]),
        version: Version(4),
        effect: r#"[{"type":"opened","data":1.00}]"#.into(),
        note: Some("it is \"known\"; 'so'".into()),
        expires_at: Timestamp(NOW + 1_000_000),
    }
}

async fn add(store: &Store, proposal: &Proposal) -> u64 {
    match store.proposals.add(proposal).await.unwrap() {
        AddedProposal::New(number) => number,
        other => panic!("{other:?}"),
    }
}

async fn find(store: &Store, number: u64) -> StoredProposal {
    store.proposals.proposal(number).await.unwrap().unwrap()
}

fn decision(is_approved: bool, at: u64) -> Decision {
    Decision {
        is_approved,
        at: Timestamp(at),
        by: Some("ann".into()),
        reason: Some("checked".into()),
    }
}

async fn a_proposal_comes_back_as_it_was_stored(place: Place) {
    let store = place.open().await;
    let mut numbers = Vec::new();
    let expected = [
        ExpectedVersion::Any,
        ExpectedVersion::NoStream,
        ExpectedVersion::StreamExists,
        ExpectedVersion::Exact(Version(0)),
        ExpectedVersion::Exact(Version(9)),
    ];
    for (n, expected) in expected.into_iter().enumerate() {
        let proposal = Proposal {
            expected,
            note: Some("n".into()).filter(|_| n > 0),
            ..proposal("loan-1", &format!("c-{n}"))
        };
        let number = add(&store, &proposal).await;
        let stored = find(&store, number).await;
        assert_eq!(stored.proposal, proposal);
        assert_eq!((stored.number, &stored.decision), (number, &None));
        assert_eq!(stored.result, None);
        numbers.push(number);
    }
    assert!(numbers.is_sorted());
    assert_eq!(store.proposals.proposal(99).await.unwrap(), None);
    let one = find(&store, numbers[4]).await;
    store.writer.close().await.unwrap();
    assert_eq!(find(&place.open().await, numbers[4]).await, one);
}

async fn a_command_id_has_one_proposal_until_it_expires(place: Place) {
    let store = place.open().await;
    let first = add(&store, &proposal("loan-1", "c")).await;
    let known = store.proposals.add(&proposal("loan-1", "c")).await.unwrap();
    let AddedProposal::Known(known) = known else {
        panic!("{known:?}");
    };
    assert_eq!(known.number, first);
    // The same id on another stream is another command.
    let other = add(&store, &proposal("loan-2", "c")).await;
    let mut later = proposal("loan-1", "c");
    Arc::make_mut(&mut later.command).accepted_at = Timestamp(NOW + 1_000_000);
    later.expires_at = Timestamp(NOW + 9_000_000);
    let second = add(&store, &later).await;
    assert!(first < other && other < second);
}

async fn only_an_open_proposal_is_decided_and_only_once(place: Place) {
    let store = place.open().await;
    let decide = async |number, is_approved, at| {
        let decision = decision(is_approved, at);
        store.proposals.decide(number, &decision).await.unwrap()
    };
    let late = add(&store, &proposal("loan-1", "late")).await;
    assert!(!decide(late, true, NOW + 1_000_000).await);
    assert!(!decide(late, false, NOW + 1_000_000).await);
    assert_eq!(find(&store, late).await.decision, None);
    for is_approved in [true, false] {
        let number = add(&store, &proposal("loan-1", &is_approved.to_string())).await;
        assert!(decide(number, is_approved, NOW + 1).await);
        assert!(!decide(number, false, NOW + 2).await);
        let found = find(&store, number).await.decision;
        assert_eq!(found, Some(decision(is_approved, NOW + 1)));
        // Until there is a result, a further approval takes the place of the first one.
        assert_eq!(decide(number, true, NOW + 2).await, is_approved);
        let done = ProposalResult::Executed(Version(5));
        store.proposals.finish(number, &done).await.unwrap();
        assert!(!decide(number, true, NOW + 3).await);
        let found = find(&store, number).await.decision;
        assert_eq!(
            found,
            Some(decision(is_approved, NOW + 1 + u64::from(is_approved)))
        );
    }
    assert!(!decide(999, true, NOW).await);
}

async fn the_first_result_counts(place: Place) {
    let store = place.open().await;
    let failed = ProposalResult::Failed {
        code: "rejected".into(),
        text: "no".into(),
    };
    let executed = ProposalResult::Executed(Version(5));
    for (id, first, second) in [("a", &failed, &executed), ("b", &executed, &failed)] {
        let number = add(&store, &proposal("loan-1", id)).await;
        // Nothing is executed without an approval.
        store.proposals.finish(number, first).await.unwrap();
        assert_eq!(find(&store, number).await.result, None);
        let approval = decision(true, NOW);
        assert!(store.proposals.decide(number, &approval).await.unwrap());
        store.proposals.finish(number, first).await.unwrap();
        store.proposals.finish(number, second).await.unwrap();
        assert_eq!(find(&store, number).await.result.as_ref(), Some(first));
    }
}

async fn proposals_are_listed_newest_first(place: Place) {
    let store = place.open().await;
    let mut numbers = Vec::new();
    for (n, stream) in ["loan-1", "card-1", "loan-2", "loan-3"].iter().enumerate() {
        numbers.push(add(&store, &proposal(stream, &format!("c-{n}"))).await);
    }
    let denial = decision(false, NOW);
    assert!(store.proposals.decide(numbers[2], &denial).await.unwrap());
    let listed = async |filter: ProposalFilter<'_>, limit| {
        let listed = store.proposals.proposals(filter, limit).await.unwrap();
        let position = |it: &StoredProposal| numbers.iter().position(|one| *one == it.number);
        let places: Vec<usize> = listed.iter().map(|it| position(it).unwrap()).collect();
        places
    };
    let all = ProposalFilter::default();
    let open = ProposalFilter {
        open_at: Some(Timestamp(NOW)),
        ..all
    };
    let of = |filter| ProposalFilter {
        category: Some("loan"),
        ..filter
    };
    assert_eq!(listed(all, 9).await, [3, 2, 1, 0]);
    assert_eq!(listed(all, 2).await, [3, 2]);
    assert_eq!(listed(open, 9).await, [3, 1, 0]);
    assert_eq!(listed(of(all), 9).await, [3, 2, 0]);
    assert_eq!(listed(of(open), 9).await, [3, 0]);
    let before = Some(numbers[2]);
    assert_eq!(listed(ProposalFilter { before, ..all }, 9).await, [1, 0]);
    let expired = ProposalFilter {
        open_at: Some(Timestamp(NOW + 1_000_000)),
        ..all
    };
    assert_eq!(listed(expired, 9).await, [0; 0]);
}

async fn the_number_of_open_proposals_is_bounded(place: Place) {
    let store = place.open().await;
    assert_eq!(PROPOSALS_OPEN_MAX, 1_000);
    let first = add(&store, &proposal("loan-1", "first")).await;
    store.writer.close().await.unwrap();
    place
        .tamper(
            "INSERT INTO proposals (category, stream, command_id, command, plan, module, version, \
                 effect, expires_at) \
             WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 999) \
             SELECT p.category, p.stream, 'more-' || n, p.command, p.plan, p.module, p.version, \
                 p.effect, p.expires_at FROM n CROSS JOIN proposals AS p",
        )
        .await;
    let store = &place.open().await;
    let more = proposal("loan-1", "more");
    let added = store.proposals.add(&more).await.unwrap();
    assert_eq!(added, AddedProposal::Full);
    // A known one is returned nevertheless.
    let known = store.proposals.add(&proposal("loan-1", "first")).await;
    assert!(matches!(known.unwrap(), AddedProposal::Known(_)));
    let denial = decision(false, NOW);
    assert!(store.proposals.decide(first, &denial).await.unwrap());
    assert!(add(store, &more).await > first);
}

/// The proposal, of this principal.
fn of(principal: Option<&str>, proposal: Proposal) -> Proposal {
    let mut command = CommandRecord::clone(&proposal.command);
    command.context.principal = principal.map(Into::into);
    Proposal {
        command: Arc::new(command),
        ..proposal
    }
}

async fn the_number_of_open_proposals_of_one_principal_is_bounded(place: Place) {
    let store = &place.open().await;
    assert_eq!(PROPOSALS_OPEN_OF_ONE_MAX, 100);
    let of_ann = |n: usize| of(Some("ann"), proposal("loan-1", &format!("ann-{n}")));
    let first = add(store, &of_ann(0)).await;
    for n in 1..100 {
        add(store, &of_ann(n)).await;
    }
    let one_more = store.proposals.add(&of_ann(100)).await.unwrap();
    assert_eq!(one_more, AddedProposal::FullOfOne);
    // A known one is returned nevertheless, and nobody else is affected.
    let known = store.proposals.add(&of_ann(7)).await.unwrap();
    assert!(matches!(known, AddedProposal::Known(_)));
    add(store, &of(Some("bob"), proposal("loan-1", "bob-1"))).await;
    for n in 0..101 {
        let unnamed = of(None, proposal("loan-1", &format!("unnamed-{n}")));
        add(store, &unnamed).await;
    }
    // Neither decided nor expired ones count.
    let denial = decision(false, NOW);
    assert!(store.proposals.decide(first, &denial).await.unwrap());
    add(store, &of_ann(100)).await;
    let mut later = of_ann(101);
    let mut command = CommandRecord::clone(&later.command);
    command.accepted_at = Timestamp(NOW + 1_000_000);
    later.command = Arc::new(command);
    add(store, &later).await;
}
