//! Finds the interpreters that run tests of the SDKs for JavaScript and Python, and installs them
//! where they are missing.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::packages;

/// A program that runs a language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interpreter {
    /// Its file.
    pub program: &'static str,
    /// Its name for people.
    pub name: &'static str,
    /// Debian's package.
    package: &'static str,
    /// The oldest version with which the tests run.
    least: (u32, u32),
}

/// Node.js as Debian 12 has it, or later.
pub const NODE: Interpreter = Interpreter {
    program: "node",
    name: "Node.js",
    package: "nodejs",
    least: (18, 0),
};

/// The oldest Python for which the SDK is meant, or later.
pub const PYTHON: Interpreter = Interpreter {
    program: "python3",
    name: "Python",
    package: "python3",
    least: (3, 11),
};

impl Interpreter {
    /// Returns its version.
    ///
    /// # Errors
    ///
    /// When it is missing or too old; the message says what to do.
    pub fn find(&self) -> Result<String> {
        let Self { name, program, .. } = self;
        let (major, minor) = self.least;
        let output = Command::new(program)
            .arg("--version")
            .stdin(Stdio::null())
            .output();
        let found = match output {
            Ok(output) if output.status.success() => {
                version(&String::from_utf8_lossy(&output.stdout))
            }
            _ => None,
        };
        match found {
            Some((found, text)) if found >= self.least => Ok(text),
            Some((_, text)) => bail!(
                "`{program}` has version {text}, and tests of the guest SDK need {name} \
                 {major}.{minor} or later: install a newer one"
            ),
            None => bail!(
                "no `{program}`, which runs tests of the guest SDK: `cargo xtask setup` installs \
                 it on Debian as root; elsewhere install {name} {major}.{minor} or later"
            ),
        }
    }

    /// Returns its version. It is installed first when it is missing and this is Debian.
    ///
    /// # Errors
    ///
    /// When it is missing and can't be installed; the message says what to do.
    pub fn ensure(&self) -> Result<String> {
        packages::ensure(|| self.find(), &[self.package])
    }
}

/// The numbers and the text of a version: of `v20.1.0`, or of `Python 3.11.2`.
fn version(printed: &str) -> Option<((u32, u32), String)> {
    let text = printed.split_whitespace().last()?.trim_start_matches('v');
    let mut numbers = text.split('.');
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?.parse().ok()?;
    Some(((major, minor), text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_as_each_interpreter_prints_it() {
        assert_eq!(version("v20.1.0\n"), Some(((20, 1), "20.1.0".to_owned())));
        let python = version("Python 3.13.0rc1\n");
        assert_eq!(python, Some(((3, 13), "3.13.0rc1".to_owned())));
        for text in ["", "\n", "node", "v20"] {
            assert_eq!(version(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_version_that_is_too_old_is_refused() {
        let future = Interpreter {
            least: (u32::MAX, 0),
            ..PYTHON
        };
        let missing = Interpreter {
            program: "quipu-has-no-such-interpreter",
            ..PYTHON
        };
        for (interpreter, text) in [(future, "install a newer one"), (missing, "no `quipu-has")] {
            let found = interpreter.find().map_err(|error| error.to_string());
            assert!(found.is_err_and(|error| error.contains(text)), "{text}");
        }
    }
}
