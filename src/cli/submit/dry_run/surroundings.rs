//! What can be read of the place where a file would go. Nothing of it is needed, and nothing is changed.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::cli::format::count;
use crate::cli::place::{Place, PlaceArgs, quotas};
use crate::config::Config;
use crate::models::{Catalog, expected_output};
use crate::pipeline::fleet::Fleet;
use crate::pipeline::spend::{self, Account};
use crate::ports::{Page, PortResult, Ports, WorkItem, WorkList};
use crate::request::{Estimate, Lane};

/// Nobody waits longer than this for what is not needed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Requests in line that are counted, of each lane.
const COUNTED: usize = 10_000;

/// What was found.
#[derive(Default)]
pub struct Surroundings {
    /// What the workers have learned, by lane.
    pub learned: HashMap<String, Learned>,
    /// What is in line.
    pub backlog: Backlog,
    /// What was spent, when that could be read.
    pub spent: Option<Account>,
    /// What could not be read.
    pub notes: Vec<String>,
}

/// What a lane's busiest worker learned.
#[derive(Clone, Debug, Default)]
pub struct Learned {
    pub input_ratio: f64,
    typical: Option<f64>,
    by_use_case: BTreeMap<String, f64>,
    answered: u64,
}

impl Learned {
    /// As if one answer had been seen.
    #[cfg(test)]
    pub fn of(input_ratio: f64, typical: f64) -> Self {
        Self { input_ratio, typical: Some(typical), by_use_case: BTreeMap::new(), answered: 1 }
    }

    /// Output tokens that three of four answers do not exceed.
    pub fn output(&self, use_case: Option<&str>) -> Option<f64> {
        use_case.and_then(|name| self.by_use_case.get(name).copied()).or(self.typical)
    }
}

/// What is in line before the file.
#[derive(Default)]
pub struct Backlog {
    pub lanes: HashMap<Lane, Ahead>,
    /// Messages whose model nobody has read yet.
    pub unread: u64,
}

/// What is in line in a lane.
#[derive(Clone, Debug, Default)]
pub struct Ahead {
    pub requests: u64,
    pub input: u64,
    pub output: f64,
    pub reserved: u64,
    /// There is more than was counted.
    pub more: bool,
}

impl Ahead {
    fn add(&mut self, estimate: Estimate, learned: Option<f64>) {
        self.requests += 1;
        self.input += estimate.input_tokens;
        self.output += expected_output(estimate, learned);
        self.reserved += estimate.input_tokens + estimate.max_output_tokens;
    }
}

impl Surroundings {
    /// Reads what can be read: quotas into the catalog, the rest into the answer.
    pub async fn look(args: &PlaceArgs, config: &Config, catalog: &Catalog) -> Self {
        let mut found = Self::default();
        match tokio::time::timeout(PATIENCE, service_quotas(config, catalog)).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => found.notes.push(format!("Quotas are those of the settings, else assumed: cannot {why}")),
            Err(_) => found.notes.push(
                "Quotas are those of the settings, else assumed: Service Quotas did not answer in time.".to_owned(),
            ),
        }
        let reading = async {
            let place = args.open_if_there(config.clone()).await.map_err(|e| e.to_string())?;
            let Some(place) = place else { return Ok(false) };
            found.read(&place).await.map_err(|e| format!("cannot {e}"))?;
            Ok::<_, String>(true)
        };
        let why = match tokio::time::timeout(PATIENCE, reading).await {
            Ok(Ok(true)) => None,
            Ok(Ok(false)) => Some(args.nothing_yet()),
            Ok(Err(why)) => Some(why),
            Err(_) => Some("no answer in time".to_owned()),
        };
        if let Some(why) = why {
            found.notes.push(format!("What is in line already and what was spent could not be read: {why}."));
        } else if found.backlog.unread > 0 {
            found.notes.push(format!(
                "{} on the input queue, not read by any worker yet, and not counted here.",
                count(found.backlog.unread, "message")
            ));
        }
        found
    }

    pub async fn read(&mut self, place: &Place) -> PortResult<()> {
        let ports = &place.ports;
        for snapshot in Fleet::members(&*ports.registers).await?.into_iter().flat_map(|member| member.lanes) {
            let known = self.learned.entry(snapshot.lane).or_default();
            if snapshot.answered > known.answered {
                *known = Learned {
                    input_ratio: snapshot.input_ratio,
                    typical: snapshot.typical_output,
                    by_use_case: snapshot.typical_outputs,
                    answered: snapshot.answered,
                };
            }
        }
        self.learned.retain(|_, learned| learned.answered > 0);
        let items = in_line(ports, &mut self.backlog).await?;
        for item in items {
            let learned = self.learned.get(item.flow.lane.as_str()).and_then(|l| l.output(None));
            self.backlog.lanes.entry(item.flow.lane).or_default().add(item.estimate, learned);
        }
        self.backlog.unread = ports.input.depth().await?.visible;
        self.spent = Some(spend::spent(&*ports.registers).await?);
        Ok(())
    }
}

/// Everything in line, of each flow up to a number.
async fn in_line(ports: &Ports, backlog: &mut Backlog) -> PortResult<Vec<WorkItem>> {
    let mut items = ports.ledger.list(&WorkList::Held, Page::first(COUNTED)).await?;
    for flow in ports.ledger.flows(None).await? {
        let ready = ports.ledger.list(&WorkList::Ready(flow.clone()), Page::first(COUNTED)).await?;
        if ready.len() == COUNTED {
            backlog.lanes.entry(flow.lane).or_default().more = true;
        }
        items.extend(ready);
    }
    Ok(items)
}

async fn service_quotas(config: &Config, catalog: &Catalog) -> Result<(), String> {
    let service = quotas(config).await.map_err(|e| e.to_string())?;
    if let Some(service) = service {
        drop(catalog.set_service_quotas(&service.list().await.map_err(|e| e.to_string())?));
    }
    Ok(())
}
