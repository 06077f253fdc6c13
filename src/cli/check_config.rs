//! `smoother check-config`: what is in force, and where it came from.

use std::process::ExitCode;

use clap::Args as ClapArgs;

use super::place::ConfigArgs;
use super::{Done, print, say};

#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn check_config(args: &Args) -> Done {
    let loaded = args.config.load()?;
    print(if args.json { loaded.to_json() } else { loaded.to_table() }.trim_end())?;
    if !args.json {
        loaded.warnings.iter().for_each(|warning| say(&format!("warning: {warning}")));
    }
    Ok(ExitCode::SUCCESS)
}
