//! Releases: what they affect is reported first; each is activated and rolled back in one plan.

use quipu::deploy::{Affected, ProjectionChanges, Release};
use quipu::model::{Command, Digest};
use quipu::proof::{Kind, Policy, Preflight, Scope};
use quipu::{Demand, Deploy, Host};
use quipu_tests::probe::{Probe, probe};
use quipu_tests::{Place, build, on_every_store};
use serde_json::{Value, json};

on_every_store! {
    a_release_with_one_mistake_is_reported,
    a_correct_release_has_no_objections,
    decisions_are_compared_with_lifted_recorded_events,
    problems_that_the_active_plan_already_has_are_not_objections,
    a_decision_that_the_active_decider_makes_too_is_not_an_objection,
    a_release_is_activated_and_rolled_back_in_one_plan,
    a_release_that_contradicts_itself_activates_nothing,
    a_release_survives_a_restart_and_is_exported,
    a_preflight_lists_what_a_release_breaks_for_whom,
}

/// The decider of version 1, and projections of its events: of both types, only of `counted`, all.
fn stock() -> Probe {
    probe("stock").event("received", 1).event("counted", 1)
}

fn views() -> Probe {
    named("stock_views", &json!([["received", 1], ["counted", 1]]), 1)
}

fn named(component: &str, events: &Value, version: u32) -> Probe {
    let sources = json!([{"category": "stock", "events": events}]);
    probe(component)
        .version(&format!("{version}.0.0"))
        .projection("levels", version, json!({"sources": sources}))
}

/// `received` is now `goods-received`, with a step.
fn renaming() -> Probe {
    let to = &[("goods-received", 1)];
    probe("stock")
        .event("goods-received", 1)
        .event("counted", 1)
        .step_that("stock", ("received", 1), to, "same")
        .decides("rename")
}

/// `received` now has version 2, with a step.
fn raised() -> Probe {
    let to = &[("received", 2)];
    probe("stock")
        .event("received", 2)
        .event("counted", 1)
        .step_that("stock", ("received", 1), to, "same")
}

async fn record(host: &Host, events: &Value) {
    let command = Command::new("note", events.to_string()).unwrap();
    let stream = build::stream("stock-chair");
    host.execute(&stream, command).await.unwrap();
}

async fn upload(host: &Host, probe: &Probe) -> Digest {
    let uploaded = host.upload(probe.component()).await.unwrap();
    uploaded.module.digest()
}

async fn release(host: &Host, probes: &[Probe]) -> Release {
    let mut release = Release::default();
    for probe in probes {
        release.digests.push(upload(host, probe).await);
    }
    release
}

async fn activate(host: &Host, probes: &[Probe]) {
    let release = release(host, probes).await;
    let keeping = ProjectionChanges::default();
    host.deploy(
        Deploy::new(release)
            .preflight(Demand::Skip)
            .projections(keeping.clone()),
    )
    .await
    .unwrap();
}

async fn preflight(host: &Host, release: Release) -> Preflight {
    let (policy, scope) = (Policy::default(), Scope::default());
    host.preflight(release, &policy, &scope, &mut |_| {})
        .await
        .unwrap()
}

/// A store with both types, their decider and projection.
async fn filled(place: &Place) -> Host {
    let host = place.host().await;
    activate(&host, &[stock(), views()]).await;
    for n in 0..3 {
        record(
            &host,
            &json!([["received", {"n": n}], ["counted", {"n": n}]]),
        )
        .await;
    }
    host
}

/// The mistake, the release, and the kind and words of the objection.
fn wrong() -> Vec<(&'static str, Vec<Probe>, Kind, &'static str)> {
    let v2 = |probe: Probe| probe.version("2.0.0");
    let step = &[("goods-received", 1)];
    vec![
        (
            "a type is renamed, but not in the projection",
            vec![v2(renaming())],
            Kind::Projection,
            "names stock events received, which its decider would no longer write; it would \
             write goods-received",
        ),
        (
            "stored events can no longer be read",
            vec![v2(probe("stock")
                .event("goods-received", 1)
                .event("counted", 1))],
            Kind::EventType,
            "stock events received of schema version 1, it does not know",
        ),
        (
            "projections are deployed before the decider",
            vec![named(
                "stock_views",
                &json!([["goods-received", 1], ["counted", 1]]),
                2,
            )],
            Kind::Projection,
            "names stock events goods-received, which nobody writes",
        ),
        (
            "a version is raised without a step",
            vec![v2(probe("stock").event("received", 2).event("counted", 1))],
            Kind::Unlifted,
            "3 stored stock events received of version 1 would be read as version 2 by its \
             decider",
        ),
        (
            "a projection reads a version that no step produces",
            vec![named(
                "stock_views",
                &json!([["received", 2], ["counted", 1]]),
                2,
            )],
            Kind::Unlifted,
            "read as version 2 by projection levels",
        ),
        (
            "the decider writes a version that the projection does not read",
            vec![v2(raised())],
            Kind::Projection,
            "its decider writes stock events received of schema version 2; projection levels \
             reads version 1",
        ),
        (
            "an event is split, and the projection reads none of its parts",
            vec![v2(probe("stock")
                .event("added", 1)
                .event("labelled", 1)
                .event("counted", 1)
                .step(
                    "stock",
                    ("received", 1),
                    &[("added", 1), ("labelled", 1)],
                ))],
            Kind::Projection,
            "would write added, labelled, which levels does not name",
        ),
        (
            "a rule decides differently",
            vec![v2(stock().decides("other"))],
            Kind::Decision,
            "come to other events",
        ),
        (
            "a rule rejects accepted commands",
            vec![v2(stock().decides("reject"))],
            Kind::Rejected,
            "are rejected",
        ),
        (
            "a step fails",
            vec![
                v2(probe("stock")
                    .event("goods-received", 1)
                    .event("counted", 1)
                    .step_that("stock", ("received", 1), step, "undeclared")),
                named(
                    "stock_views",
                    &json!([["goods-received", 1], ["counted", 1]]),
                    2,
                ),
            ],
            Kind::Fold,
            "streams that it can't fold",
        ),
    ]
}

async fn a_release_with_one_mistake_is_reported(place: Place) {
    let host = filled(&place).await;
    record(&host, &json!([["counted", {"n": 1, "word": "odd"}]])).await;
    for (what, probes, kind, words) in wrong() {
        let found = preflight(&host, release(&host, &probes).await).await;
        let mut objections = found.objections.iter();
        let named = objections.any(|it| it.kind == kind && it.blocks && it.text.contains(words));
        assert!(named, "{what}: {:#?}", found.objections);
        assert!(!found.passes(), "{what}");
    }
    // A rollback to a decider that writes a type that no projection declares.
    let renamed = renaming().version("2.0.0");
    let both = named(
        "stock_views",
        &json!([["goods-received", 1], ["counted", 1]]),
        2,
    );
    activate(&host, &[renamed]).await;
    activate(&host, &[both]).await;
    let back = host.release_before("stock").await.unwrap().unwrap();
    let found = preflight(&host, back).await;
    assert!(!found.passes());
    let texts: Vec<_> = found.objections.iter().map(|it| &it.text).collect();
    let text = "projection levels names stock events goods-received, which its decider would no \
                longer write; it would write received";
    assert!(texts.iter().any(|it| it.contains(text)), "{texts:#?}");
}

fn right() -> Vec<(&'static str, Vec<Probe>)> {
    let v2 = |probe: Probe| probe.version("2.0.0");
    let renamed = || v2(renaming());
    let renamed_views = |version| {
        named(
            "stock_views",
            &json!([["goods-received", 1], ["counted", 1]]),
            version,
        )
    };
    vec![
        ("the same rules, built again", vec![v2(stock())]),
        (
            "the same projections in a new component",
            vec![views().version("1.0.1")],
        ),
        (
            "a type is added that no projection needs",
            vec![v2(stock().event("moved", 1))],
        ),
        (
            "a type is renamed by an alias",
            vec![v2(probe("stock")
                .event_once_called("goods-received", 1, &["received"])
                .event("counted", 1)
                .decides("rename"))],
        ),
        (
            "a type is renamed by a step, and in its projections",
            vec![renamed(), renamed_views(2)],
        ),
        (
            "a new form with a step, and the projection follows",
            vec![
                v2(raised()),
                named("stock_views", &json!([["received", 2], ["counted", 1]]), 2),
            ],
        ),
        (
            "a new form with a step that the projection reads as it is",
            vec![
                v2(raised()),
                named("stock_views", &json!([["received", 0], ["counted", 0]]), 2),
            ],
        ),
        (
            "a version is raised, and its form has not changed",
            vec![
                v2(probe("stock")
                    .event("received", 2)
                    .unchanged("received", 1)
                    .event("counted", 1)),
                named("stock_views", &json!([["received", 0], ["counted", 0]]), 2),
            ],
        ),
        (
            "a projection no longer reads a type",
            vec![named("stock_views", &json!([["counted", 1]]), 2)],
        ),
        (
            "a projection is new",
            vec![probe("stock_more").projection(
                "more",
                1,
                json!({"sources": [{"category": "stock"}]}),
            )],
        ),
    ]
}

async fn a_correct_release_has_no_objections(place: Place) {
    let host = filled(&place).await;
    for (what, probes) in right() {
        let found = preflight(&host, release(&host, &probes).await).await;
        let blocking: Vec<_> = found.objections.iter().filter(|it| it.blocks).collect();
        assert!(blocking.is_empty(), "{what}: {blocking:#?}");
    }
    host.shutdown().await.unwrap();
}

async fn decisions_are_compared_with_lifted_recorded_events(place: Place) {
    let host = filled(&place).await;
    let again = release(&host, &[stock().version("2.0.0")]).await;
    let tallies = |found: &Preflight| {
        let mut commands = found.decided.commands.values();
        let tally = commands.next().copied().unwrap_or_default();
        (tally.same, tally.lifted, tally.different)
    };
    assert_eq!(tallies(&preflight(&host, again).await), (3, 0, 0));
    let views = named("stock_views", &json!([["received", 0], ["counted", 0]]), 2);
    for candidate in [
        // A newer name, and a newer form.
        probe("stock")
            .event_once_called("arrived", 1, &["received"])
            .event("counted", 1)
            .decides("rename"),
        raised(),
    ] {
        let release = release(&host, &[candidate, views.clone()]).await;
        let found = preflight(&host, release).await;
        assert_eq!(tallies(&found), (0, 3, 0), "{:#?}", found.decided.findings);
        assert!(found.passes(), "{:#?}", found.objections);
    }
    // A different rule is a different decision in any form.
    record(&host, &json!([["received", {"word": "odd"}]])).await;
    let other = release(&host, &[raised().decides("other"), views]).await;
    let found = preflight(&host, other).await;
    assert_eq!(tallies(&found), (0, 3, 1));
    assert!(!found.passes());
}

async fn problems_that_the_active_plan_already_has_are_not_objections(place: Place) {
    let host = filled(&place).await;
    // It was allowed before, and the next release changes nothing about it.
    let raised = || probe("stock").event("received", 2).event("counted", 1);
    let views = named("stock_views", &json!([["received", 0], ["counted", 0]]), 2);
    activate(&host, &[raised().version("2.0.0"), views]).await;
    let again = release(&host, &[raised().version("2.0.1")]).await;
    let found = preflight(&host, again).await;
    let mut kinds = found.objections.iter().filter(|it| it.blocks);
    assert!(
        kinds.all(|it| it.kind != Kind::Unlifted && it.kind != Kind::Projection),
        "{:#?}",
        found.objections
    );
}

async fn a_decision_that_the_active_decider_makes_too_is_not_an_objection(place: Place) {
    let host = place.host().await;
    activate(&host, &[stock()]).await;
    for n in 0..3 {
        record(&host, &json!([["received", {"n": n, "is": "odd"}]])).await;
    }
    let other = |version: &str| stock().version(version).decides("other");
    let changed = release(&host, &[other("2.0.0")]).await;
    let found = preflight(&host, changed.clone()).await;
    assert!(!found.passes());
    let keeping = ProjectionChanges::default();
    host.deploy(
        Deploy::new(changed)
            .preflight(Demand::Skip)
            .projections(keeping.clone()),
    )
    .await
    .unwrap();
    // It was allowed once: the next release changes nothing of it, the one after that does.
    let same = release(&host, &[other("2.0.1")]).await;
    let found = preflight(&host, same).await;
    let tally = found.decided.commands.values().next().unwrap();
    assert_eq!((tally.as_active, tally.different), (3, 0));
    assert!(found.passes(), "{:#?}", found.objections);
    let rejecting = stock().version("3.0.0").decides("reject");
    let found = preflight(&host, release(&host, &[rejecting]).await).await;
    assert!(!found.passes());
    host.shutdown().await.unwrap();
}

/// Semantics 10.5.
async fn a_release_is_activated_and_rolled_back_in_one_plan(place: Place) {
    let host = filled(&place).await;
    let before = host.plan();
    let probes = [
        stock().version("2.0.0"),
        views().version("2.0.0"),
        probe("extra").version("2.0.0"),
    ];
    let two = release(&host, &probes).await;
    let keeping = ProjectionChanges::default();
    let deployed = host.deploy(
        Deploy::new(two.clone())
            .preflight(Demand::Skip)
            .projections(keeping.clone())
            .by("ann"),
    );
    let deployed = deployed.await.unwrap();
    assert_eq!(deployed.plan, before.number + 1);
    let names: Vec<_> = deployed
        .members()
        .map(|(name, _)| name.to_owned())
        .collect();
    assert_eq!(names, ["stock", "extra", "stock_views"]);
    let active = |name: &str| host.plan().active(name);
    assert_eq!(active("stock_views"), Some(two.digests[1]));
    // Any of its names rolls back to the modules that it replaced, in one plan. Modules that it
    // added are removed.
    for name in ["stock", "stock_views"] {
        let back = host.release_before(name).await.unwrap().unwrap();
        assert_eq!(back.retired, ["extra"]);
        assert_eq!(back.digests.first().copied(), before.active(name));
        assert_eq!(back.digests.len(), 2);
    }
    let back = host.release_before("stock").await.unwrap().unwrap();
    host.deploy(
        Deploy::new(back)
            .preflight(Demand::Skip)
            .projections(keeping.clone()),
    )
    .await
    .unwrap();
    assert_eq!(host.plan().number, before.number + 2);
    for name in ["stock", "stock_views", "extra"] {
        assert_eq!(active(name), before.active(name), "{name}");
    }
    let refused = host
        .execute(
            &build::stream("extra-1"),
            Command::new("note", "[]").unwrap(),
        )
        .await;
    let refused = refused.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "no decider serves category \"extra\"; correct the name, or deploy one"
    );
    record(&host, &json!([["received", {"n": 1}]])).await;
    // And forward a second time, in one plan.
    let again = host.release_before("stock").await.unwrap().unwrap();
    host.deploy(
        Deploy::new(again)
            .preflight(Demand::Skip)
            .projections(keeping.clone()),
    )
    .await
    .unwrap();
    assert_eq!(active("extra"), Some(two.digests[2]));
    let verified = host.verify(&Scope::default(), &mut |_| {}).await.unwrap();
    assert!(verified.is_sound(), "{:#?}", verified.findings);
    host.shutdown().await.unwrap();
}

async fn a_release_that_contradicts_itself_activates_nothing(place: Place) {
    let host = filled(&place).await;
    let plan = host.plan().number;
    let keeping = ProjectionChanges::default();
    let two = release(&host, &[stock().version("3.0.0"), stock().version("4.0.0")]).await;
    let refused = host
        .deploy(
            Deploy::new(two)
                .preflight(Demand::Skip)
                .projections(keeping.clone()),
        )
        .await
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("two components of the release have the name stock"),
        "{refused}"
    );
    let nothing = host
        .deploy(
            Deploy::new(Release::default())
                .preflight(Demand::Skip)
                .projections(keeping.clone()),
        )
        .await;
    assert!(
        nothing
            .unwrap_err()
            .to_string()
            .contains("1 to 64 components")
    );
    let step = |name: &str| probe(name).step("stock", ("older", 1), &[("counted", 1)]);
    let same = release(&host, &[step("one"), step("other")]).await;
    let refused = host
        .deploy(
            Deploy::new(same)
                .preflight(Demand::Skip)
                .projections(keeping.clone()),
        )
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("are the same step"),
        "{refused}"
    );
    assert_eq!(host.plan().number, plan);
    host.shutdown().await.unwrap();
}

async fn a_release_survives_a_restart_and_is_exported(place: Place) {
    let first = filled(&place).await;
    let probes = [
        stock().version("2.0.0"),
        views().version("2.0.0"),
        probe("extra").version("2.0.0"),
    ];
    activate(&first, &probes).await;
    let history = first.deployments().await.unwrap();
    first.shutdown().await.unwrap();
    let second = place.host().await;
    assert_eq!(second.deployments().await.unwrap(), history);
    assert!(second.plan().active("extra").is_some());
    let pruned = second
        .prune(std::time::Duration::ZERO, false)
        .await
        .unwrap();
    assert!(pruned.is_empty(), "{pruned:?}");
    let mut export = second.export(quipu::model::Position(0)).await.unwrap();
    let mut file = Vec::new();
    while let Some(part) = export.next().await.unwrap() {
        file.extend_from_slice(&part);
    }
    let other = place.another();
    let third = other.host().await;
    let lines = futures::stream::iter([Ok::<_, std::io::Error>(file.into())]);
    third.import(lines, &mut |_| {}).await.unwrap();
    assert!(third.plan().active("extra").is_some());
    let back = third.release_before("stock").await.unwrap().unwrap();
    assert_eq!(back.retired, ["extra"]);
    for host in [second, third] {
        host.shutdown().await.unwrap();
    }
}

async fn a_preflight_lists_what_a_release_breaks_for_whom(place: Place) {
    let host = filled(&place).await;
    let sources = json!([{"category": "stock", "events": [["received", 1]]}]);
    let second = [
        probe("stock").version("2.0.0").event("received", 1),
        probe("stock_views")
            .version("2.0.0")
            .projection("other", 1, json!({"sources": sources})),
        probe("shop").event("opened", 1),
    ];
    let found = preflight(&host, release(&host, &second).await).await;
    let listed = found.changes.iter();
    let listed: Vec<_> = listed
        .map(|it| {
            (
                &*it.component,
                it.change.breaks,
                it.change.affected,
                &*it.change.text,
            )
        })
        .collect();
    let removed = "event counted is removed, and no alias or step reads stored ones";
    assert_eq!(
        listed,
        [
            ("stock", true, Affected::Readers, removed),
            (
                "stock_views",
                true,
                Affected::Queries,
                "projection levels is not defined any more"
            ),
            (
                "stock_views",
                false,
                Affected::Queries,
                "projection other is new"
            ),
        ]
    );
    // A change is no objection, and a component that replaces none has no changes.
    let same = [stock().version("1.0.1").event("added", 1)];
    let found = preflight(&host, release(&host, &same).await).await;
    assert!(found.passes(), "{:?}", found.objections);
    assert_eq!(found.changes.len(), 1);
    let active = preflight(&host, release(&host, &[stock()]).await).await;
    assert_eq!(active.changes, []);
}
