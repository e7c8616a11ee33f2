//! The program under test: `quipu`, built with the tests so that it is never an old one.

use std::process::ExitCode;

fn main() -> ExitCode {
    quipu_cli::main()
}
