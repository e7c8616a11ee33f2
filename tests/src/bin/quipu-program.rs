//! The program under test: `quipu`, built together with the tests so that it is never out of date.

use std::process::ExitCode;

fn main() -> ExitCode {
    quipu_cli::main()
}
