//! The codes of rejections that deciders declare.

use std::collections::BTreeSet;

use super::Difference;
use super::check::listed;
use super::play::Played;
use crate::Components;

/// Finds rejections with codes that their deciders do not declare.
pub(super) fn check(components: &Components, played: &Played) -> Vec<Difference> {
    let mut differences = Vec::new();
    for (category, code) in &played.rejections {
        if let Some(decider) = components.decider(category) {
            let declared = quipu::deploy::rejections(decider.manifest());
            let text = undeclared(category, code, &declared);
            differences.extend(text.map(Difference::problem));
        }
    }
    differences
}

/// Says that a code is not among the declared ones. A decider that declares none may use any.
fn undeclared(category: &str, code: &str, declared: &BTreeSet<&str>) -> Option<String> {
    if declared.is_empty() || declared.contains(code) {
        return None;
    }
    let known: Vec<&str> = declared.iter().copied().collect();
    Some(format!(
        "rejected as {code}, which the decider of category {category} does not declare; it \
         declares {}",
        listed(&known)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_that_is_not_declared_is_a_fault_of_the_scenario() {
        let declared = BTreeSet::from(["closed", "not-open"]);
        let check = |code| undeclared("account", code, &declared);
        assert_eq!(check("closed"), None);
        assert_eq!(
            check("close").unwrap(),
            "rejected as close, which the decider of category account does not declare; it \
             declares closed, not-open"
        );
    }

    #[test]
    fn a_decider_that_declares_no_codes_may_use_any() {
        assert_eq!(undeclared("account", "closed", &BTreeSet::new()), None);
    }
}
