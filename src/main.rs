//! The `smoother` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    smoother::cli::main()
}
