//! `smoother simulate-bedrock`: a Bedrock to try things on.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args as ClapArgs;

use crate::shutdown::Stop;
use crate::simulator::{self, Settings};

use super::{Done, Error, print, say};

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8181")]
    listen: SocketAddr,
    /// Models, quotas, latency, faults, background traffic (TOML)
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Everything random follows from it
    #[arg(long)]
    seed: Option<u64>,
    /// Multiplies every latency; 0 answers at once
    #[arg(long, value_name = "FACTOR")]
    latency_scale: Option<f64>,
    /// Print the settings in force as TOML, and end
    #[arg(long)]
    print_settings: bool,
}

pub async fn simulate(args: Args) -> Done {
    let mut settings = match &args.settings {
        None => Settings::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(Error::io(format!("read {}", path.display())))?;
            toml::from_str(&text).map_err(|e| Error::Said(format!("{} is not right: {e}", path.display())))?
        }
    };
    settings.seed = args.seed.unwrap_or(settings.seed);
    settings.latency_scale = args.latency_scale.unwrap_or(settings.latency_scale);
    if args.print_settings {
        print(toml::to_string(&settings).map_err(|e| Error::Said(e.to_string()))?.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let simulator =
        simulator::start(settings, args.listen).await.map_err(Error::io(format!("listen on {}", args.listen)))?;
    // On stdout and first, so that scripts can read where it listens.
    print(&simulator.url())?;
    say(&format!(
        "A simulated Bedrock. Try: smoother run --local ./data --bedrock-endpoint {0}\nWhat it served: curl {0}/_sim/stats",
        simulator.url()
    ));
    let stop = Stop::default();
    let signals = stop.clone();
    tokio::select! {
        () = stop.intake.cancelled() => {}
        listened = signals.on_signals() => listened.map_err(Error::io("listen for signals"))?,
    }
    simulator.stop().await;
    Ok(ExitCode::SUCCESS)
}
