//! The binary: hands over to [`safe_boundary::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    safe_boundary::cli::main()
}
