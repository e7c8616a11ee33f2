//! Names of projects, of their components, and of categories.

use super::{FILE, Project};

/// Most characters of a project's name.
const PROJECT_MAX: usize = 48;
/// Most characters of a category.
const CATEGORY_MAX: usize = 64;

/// Checks the name of a project: it becomes a file, a package and a category.
pub(super) fn check_project(name: &str) -> Result<(), String> {
    check("name of a project", name, PROJECT_MAX)
}

/// Checks the category that a new project reads.
pub(super) fn check_category(name: &str) -> Result<(), String> {
    check("name of a category", name, CATEGORY_MAX)
}

fn check(what: &str, name: &str, characters_max: usize) -> Result<(), String> {
    if fits(name, characters_max) {
        return Ok(());
    }
    let nearest = nearest(name, characters_max);
    let nearest = nearest.map_or_else(String::new, |it| format!(", for example {it}"));
    Err(format!(
        "{name:?} is not a {what}: use 1 to {characters_max} of a-z, 0-9 and _, beginning with a \
         letter{nearest}"
    ))
}

fn fits(name: &str, characters_max: usize) -> bool {
    let is_accepted =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    let begins = name.starts_with(|letter: char| letter.is_ascii_lowercase());
    begins && name.len() <= characters_max && name.chars().all(is_accepted)
}

/// The nearest name that fits. `None` if nothing of the name fits, or it has letters outside ASCII.
fn nearest(name: &str, characters_max: usize) -> Option<String> {
    if !name.is_ascii() {
        return None;
    }
    let mut spaced = String::new();
    for letter in name.chars() {
        let ends_word = spaced.ends_with(|before: char| before.is_ascii_lowercase());
        if letter.is_ascii_uppercase() && ends_word {
            spaced.push('_');
        }
        spaced.push(letter);
    }
    let words = spaced.split(|letter: char| !letter.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let joined = words.join("_").to_ascii_lowercase();
    let begin = joined.find(|letter: char| letter.is_ascii_lowercase())?;
    Some(joined.chars().skip(begin).take(characters_max).collect())
}

impl Project {
    /// Says what to do if the project has another name than its component. A component may have `-`
    /// and `.` where the name of a project has `_`.
    pub fn other_name(&self, component: &str) -> Option<String> {
        let name = &self.name;
        if component.replace(['-', '.'], "_") == *name {
            return None;
        }
        let file = self.dir.join(FILE);
        let rename = match nearest(component, PROJECT_MAX) {
            Some(nearest) => format!("set name = \"{nearest}\" in {}, or ", file.display()),
            None => String::new(),
        };
        Some(format!(
            "the project is called {name}, but its component {component}, and hosts know it as \
             {component}; {rename}rename the component in its source"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_does_not_fit_is_refused_with_the_rule_and_the_nearest() {
        for (name, example) in [
            ("Book", ", for example book"),
            ("BookLoan", ", for example book_loan"),
            ("My Bank", ", for example my_bank"),
            ("2nd-loan", ", for example nd_loan"),
            ("Bücher", ""),
            ("17", ""),
            ("", ""),
        ] {
            let expected = format!(
                "{name:?} is not a name of a category: use 1 to 64 of a-z, 0-9 and _, beginning \
                 with a letter{example}"
            );
            assert_eq!(check_category(name), Err(expected));
        }
        let long = "a".repeat(65);
        let shorter = &long[..64];
        assert!(
            check_category(&long)
                .unwrap_err()
                .ends_with(&format!(" {shorter}"))
        );
        assert_eq!(check_category(shorter), Ok(()));
        assert!(check_project(shorter).is_err());
        assert_eq!(check_project("loan_2"), Ok(()));
    }

    #[test]
    fn another_name_of_the_component_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = "name = \"loan_views\"\nlanguage = \"python\"\n";
        std::fs::write(dir.path().join(FILE), manifest).unwrap();
        let project = Project::read(dir.path()).unwrap();
        assert_eq!(project.other_name("loan_views"), None);
        assert_eq!(project.other_name("loan-views"), None);
        let text = project.other_name("books").unwrap();
        for part in [
            "loan_views",
            "its component books",
            "set name = \"books\" in ",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
