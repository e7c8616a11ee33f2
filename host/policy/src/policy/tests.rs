use std::collections::BTreeMap;

use quipu::access::{Grant, Identified};
use quipu::model::StreamId;

use super::*;

fn caller(role: Role, attributes: &[(&str, &str)]) -> Caller {
    let attributes = attributes
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Caller::identified(Identified {
        name: "ann".to_owned(),
        grant: Grant::of(role),
        attributes: attributes.collect::<BTreeMap<_, _>>(),
        expires_at: None,
    })
    .unwrap()
}

fn policy(text: &str) -> Policy {
    Policy::parse(text)
        .map_err(|it| format!("{it:?}"))
        .unwrap()
        .0
}

#[test]
fn without_policies_the_roles_decide() {
    let policy = policy("");
    assert!(policy.is_empty());
    let stream = StreamId::new("loan-1").unwrap();
    for role in Role::ALL {
        for action in Action::ALL {
            for object in [
                Object::Store,
                Object::Category("loan"),
                Object::Stream(&stream),
            ] {
                let decided = policy.check(&caller(*role, &[]), *action, object);
                assert_eq!(decided.is_ok(), role.allows(*action), "{role} {action}");
            }
        }
    }
}

#[test]
fn a_customer_reaches_only_its_own_streams() {
    let policy = policy(
        r#"@id("own loans")
        permit (principal, action in [Action::"read", Action::"command"], resource is Stream in Category::"loan")
        when { principal.hasTag("customer") && resource.key == principal.getTag("customer") };"#,
    );
    let (own, other) = (
        StreamId::new("loan-7").unwrap(),
        StreamId::new("loan-8").unwrap(),
    );
    let customer = caller(Role::Nobody, &[("customer", "7")]);
    for _ in 0..2 {
        policy
            .check(&customer, Action::Command, Object::Stream(&own))
            .unwrap();
        let denied = policy.check(&customer, Action::Command, Object::Stream(&other));
        assert_eq!(
            denied,
            Err(Denied::NotPermitted(Role::Nobody, Action::Command))
        );
    }
    assert!(
        policy
            .check(&customer, Action::Append, Object::Stream(&own))
            .is_err()
    );
    assert!(
        policy
            .check(&customer, Action::Read, Object::Category("loan"))
            .is_err()
    );
    let nobody = caller(Role::Nobody, &[]);
    assert!(
        policy
            .check(&nobody, Action::Command, Object::Stream(&own))
            .is_err()
    );
    let decision = policy.decide(&customer, Action::Read, Object::Stream(&own));
    assert_eq!(decision.rules, ["own loans"]);
}

#[test]
fn what_is_forbidden_stays_so() {
    let policy = policy(
        r#"@id("no appends")
        forbid (principal, action == Action::"append", resource);
        permit (principal, action, resource);"#,
    );
    let denied = policy.check(&caller(Role::Admin, &[]), Action::Append, Object::Store);
    assert_eq!(denied, Err(Denied::Forbidden("no appends".to_owned())));
    let scraper = caller(Role::Scraper, &[]);
    for _ in 0..2 {
        policy
            .check(&scraper, Action::View, Object::Projection("sums"))
            .unwrap();
    }
    let decision = policy.decide(&scraper, Action::View, Object::Store);
    assert_eq!(decision.rules, ["policy 2"]);
}

#[test]
fn what_was_allowed_is_not_evaluated_twice() {
    let (ann, bob) = (caller(Role::Client, &[]), caller(Role::Client, &[]));
    let [first, second] = ["loan-1", "loan-2"].map(|id| StreamId::new(id).unwrap());
    let by_category = policy("permit (principal, action, resource in Category::\"loan\");");
    let by_key =
        policy("forbid (principal, action, resource is Stream) when { resource.key == \"9\" };");
    for (mut policy, is_same_for_all) in [(by_category, true), (by_key, false)] {
        let may = |policy: &Policy, caller: &Caller, action, object| {
            policy.check(caller, action, object).is_ok()
        };
        assert!(may(&policy, &ann, Action::Command, Object::Stream(&first)));
        assert!(may(&policy, &ann, Action::View, Object::Projection("sums")));
        // From here on, whatever is evaluated is denied.
        policy.set = PolicySet::new();
        for stream in [&first, &second] {
            let allowed = may(&policy, &ann, Action::Command, Object::Stream(stream));
            assert_eq!(allowed, is_same_for_all, "{stream:?}");
        }
        assert!(may(&policy, &ann, Action::View, Object::Projection("sums")));
        // A decision is about one caller, one action and one name.
        for (who, action, object) in [
            (&bob, Action::View, Object::Projection("sums")),
            (&ann, Action::Read, Object::Projection("sums")),
            (&ann, Action::View, Object::Projection("rates")),
            (&ann, Action::View, Object::Category("sums")),
            (&ann, Action::Command, Object::Store),
        ] {
            assert!(!may(&policy, who, action, object), "{action} {object:?}");
        }
    }
}

#[test]
fn the_lists_of_a_grant_limit_every_policy() {
    let policy = policy("permit (principal, action, resource);");
    let limited = Caller::identified(Identified {
        name: "ann".to_owned(),
        grant: Grant {
            categories: vec!["loan".to_owned()],
            ..Grant::of(Role::Client)
        },
        attributes: BTreeMap::new(),
        expires_at: None,
    })
    .unwrap();
    policy
        .check(&limited, Action::Command, Object::Category("loan"))
        .unwrap();
    let denied = policy.check(&limited, Action::Command, Object::Category("coin"));
    assert!(matches!(denied, Err(Denied::Grant(_))), "{denied:?}");
}

#[test]
fn mistakes_have_their_lines() {
    for (text, line, expected) in [
        ("permit (principal, action, resource)", 1, "unexpected end"),
        (
            "\n\npermit (principal, action == Action::\"reed\", resource);",
            3,
            "reed",
        ),
        (
            "permit (principal in Role::\"client\", action, resource)\nwhen { resource.owner == \"a\" };",
            2,
            "owner",
        ),
        (
            "permit (principal, action, resource)\nwhen { principal.getTag(\"a\") == \"b\" };",
            2,
            "tag",
        ),
        (
            "permit (principal, action, resource in Table::\"a\");",
            1,
            "Table",
        ),
    ] {
        let mistakes = Policy::parse(text).err().unwrap();
        let shown = mistakes[0].to_string();
        assert_eq!(mistakes[0].line, Some(line), "{text}: {shown}");
        assert!(shown.contains(expected), "{shown}");
    }
    let long = " ".repeat(POLICY_BYTES_MAX + 1);
    assert!(Policy::parse(&long).is_err());
}

#[test]
fn what_is_forbidden_in_a_part_denies_the_whole() {
    let viewer = caller(Role::Viewer, &[]);
    let may = |policy: &Policy, object| policy.check(&viewer, Action::ReadPayload, object);
    let payroll = "forbid (principal, action, resource in Category::\"payroll\") unless { principal in Role::\"admin\" };";
    let one = "forbid (principal, action, resource == Stream::\"note-1\");";
    let some = "forbid (principal, action, resource is Stream) unless { resource.key == \"7\" };";
    for (text, denied, allowed) in [
        (
            payroll,
            vec![Object::Store, Object::Category("payroll")],
            vec![Object::Category("note")],
        ),
        (
            one,
            vec![Object::Store, Object::Category("note")],
            vec![Object::Category("loan")],
        ),
        (
            some,
            vec![Object::Store, Object::Category("note")],
            vec![Object::Projection("sums")],
        ),
    ] {
        let policy = policy(text);
        for object in denied {
            assert!(may(&policy, object).is_err(), "{text} {object:?}");
        }
        for object in allowed {
            may(&policy, object).unwrap();
        }
    }
    // Conditions on the resource can't be decided for what reads many: it counts as forbidden.
    for text in [
        "forbid (principal, action, resource is Stream) when { resource.key == \"7\" };",
        "forbid (principal, action, resource is Stream in Category::\"note\") when { resource.key like \"secret*\" };",
        "forbid (principal, action, resource) when { resource in Category::\"note\" };",
        "forbid (principal, action, resource is Stream) unless { resource in Category::\"any\" };",
    ] {
        let mut text = text.to_owned();
        let viewer_only = policy(&text);
        assert!(may(&viewer_only, Object::Store).is_err(), "{text}");
        assert!(
            may(&viewer_only, Object::Category("note")).is_err(),
            "{text}"
        );
        // Who is exempt in any case is so here too.
        text = text.replace(';', " unless { principal in Role::\"viewer\" };");
        may(&policy(&text), Object::Store).unwrap();
    }
    let admin = caller(Role::Admin, &[]);
    policy(payroll)
        .check(&admin, Action::ReadPayload, Object::Store)
        .unwrap();
    // A policy that permits more denies nothing.
    let more = policy("permit (principal, action, resource in Category::\"a\");");
    may(&more, Object::Store).unwrap();
}

#[test]
fn a_policy_is_about_single_modules() {
    let may = |policy: &Policy, who: &Caller, on: &str| {
        let on: Target = on.parse().unwrap();
        policy.check(who, Action::Deploy, on.object())
    };
    let (client, author) = (caller(Role::Client, &[]), caller(Role::Author, &[]));
    let of_ann = policy(
        "permit (principal, action == Action::\"deploy\", resource == Module::\"account\") when { principal.name == \"ann\" };",
    );
    for _ in 0..2 {
        may(&of_ann, &client, "module/account").unwrap();
        for on in [
            "module/loan",
            "module/account-views",
            "category/account",
            "store",
        ] {
            let denied = Err(Denied::NotPermitted(Role::Client, Action::Deploy));
            assert_eq!(may(&of_ann, &client, on), denied, "{on}");
        }
        // A role covers all modules.
        for on in ["module/account", "module/loan", "store"] {
            may(&of_ann, &author, on).unwrap();
        }
    }
    let in_store = policy("permit (principal, action, resource in Store::\"store\");");
    may(&in_store, &client, "module/loan").unwrap();

    let only = policy(
        "@id(\"only\") forbid (principal, action == Action::\"deploy\", resource) unless { resource == Module::\"account\" };",
    );
    may(&only, &author, "module/account").unwrap();
    let denied = Err(Denied::Forbidden("only".to_owned()));
    assert_eq!(may(&only, &author, "module/loan"), denied);
    assert_eq!(may(&only, &author, "store"), denied);
    assert!(may(&only, &client, "module/account").is_err());

    // All modules are no longer allowed if one of them is forbidden.
    let but = policy("@id(\"but\") forbid (principal, action, resource == Module::\"ledger\");");
    may(&but, &author, "module/account").unwrap();
    let denied = may(&but, &author, "module/ledger");
    assert_eq!(denied, Err(Denied::Forbidden("but".to_owned())));
    let denied = may(&but, &author, "store");
    assert_eq!(denied, Err(Denied::Modules("but".to_owned())));
    but.check(&author, Action::Read, Object::Store).unwrap();

    // What is forbidden for the store is so for its modules.
    for head in [
        "resource == Store::\"store\"",
        "resource is Store",
        "resource is Module",
    ] {
        let none = policy(&format!(
            "@id(\"none\") forbid (principal, action, {head});"
        ));
        let denied = may(&none, &author, "module/account");
        assert_eq!(denied, Err(Denied::Forbidden("none".to_owned())), "{head}");
    }
}

#[test]
fn a_caller_is_refused_before_the_module_is_known() {
    let (client, author) = (caller(Role::Client, &[]), caller(Role::Author, &[]));
    for (text, may_client, may_author) in [
        ("", false, true),
        (
            "permit (principal, action, resource == Module::\"a\");",
            true,
            true,
        ),
        (
            "permit (principal, action, resource is Module) when { resource.name like \"a*\" };",
            true,
            true,
        ),
        (
            "permit (principal, action, resource in Store::\"store\");",
            true,
            true,
        ),
        (
            "permit (principal, action, resource in Category::\"a\");",
            false,
            true,
        ),
        (
            "permit (principal, action, resource is Stream);",
            false,
            true,
        ),
        (
            "permit (principal, action, resource == Module::\"a\") when { principal.name == \"bob\" };",
            false,
            true,
        ),
        (
            "permit (principal, action == Action::\"read\", resource);",
            false,
            true,
        ),
        (
            "forbid (principal, action, resource == Module::\"a\");",
            false,
            true,
        ),
        (
            "forbid (principal, action, resource) unless { resource == Module::\"a\" };",
            false,
            true,
        ),
        (
            "forbid (principal, action == Action::\"deploy\", resource);",
            false,
            false,
        ),
        (
            "forbid (principal, action, resource in Store::\"store\");",
            false,
            false,
        ),
        (
            "forbid (principal, action, resource in Category::\"a\");",
            false,
            true,
        ),
    ] {
        let policy = policy(text);
        for (who, expected) in [(&client, may_client), (&author, may_author)] {
            let checked = policy.check_any_module(who, Action::Deploy);
            assert_eq!(checked.is_ok(), expected, "{text} {checked:?}");
        }
    }
    // The lists of a grant have no modules.
    let limited = Caller::identified(Identified {
        name: "ann".to_owned(),
        grant: Grant {
            categories: vec!["a".to_owned()],
            ..Grant::of(Role::Admin)
        },
        attributes: BTreeMap::new(),
        expires_at: None,
    });
    let checked = policy("").check_any_module(&limited.unwrap(), Action::Deploy);
    assert!(matches!(checked, Err(Denied::Grant(_))), "{checked:?}");
}

#[test]
fn what_can_not_exist_is_a_mistake() {
    for (text, expected) in [
        (
            "permit (principal in Role::\"clinet\", action, resource);",
            "clinet",
        ),
        (
            "permit (principal, action, resource in Store::\"bank\");",
            "bank",
        ),
        (
            "permit (principal, action, resource in Category::\"a b\");",
            "a b",
        ),
        (
            "permit (principal, action, resource == Module::\"Account\");",
            "Account",
        ),
        (
            "@id(\"a\") permit (principal, action, resource); @id(\"a\") forbid (principal, action, resource);",
            "the id \"a\"",
        ),
    ] {
        let mistakes = Policy::parse(text).err().unwrap();
        assert!(mistakes[0].to_string().contains(expected), "{mistakes:?}");
    }
}

#[test]
fn the_shipped_roles_are_policies() {
    let text = roles();
    let (policy, warnings) = Policy::parse(&text)
        .map_err(|it| format!("{it:?}"))
        .unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(policy.len(), 7);
}

#[test]
fn only_deploying_is_about_modules() {
    let text = "permit (principal, action == Action::\"read\", resource == Module::\"account\");";
    let (_, warnings) = Policy::parse(text).map_err(|it| format!("{it:?}")).unwrap();
    let is_named = |it: &Mistake| it.to_string().contains("an applicable action");
    assert!(warnings.iter().any(is_named), "{warnings:?}");
}
