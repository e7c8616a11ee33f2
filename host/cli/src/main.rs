//! The program `quipu`; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    quipu_cli::main()
}
