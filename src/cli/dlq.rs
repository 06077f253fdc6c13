//! `smoother dlq`: the dead-letter queue of the hold queue, for people.

mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

use clap::{Args as ClapArgs, Subcommand};

use crate::control::dead_letters::{DeadLetters, Fate, Handled, Which};

use super::format::{count, shell_word};
use super::operator::OperatorArgs;
use super::place::{Place, PlaceArgs};
use super::status::{Story, story_page};
use super::{Done, Error, print, say};

/// Messages that no worker could bring to an end: received three times in vain.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
The planner puts most of them back into line by itself; what stays is for people: requests that took
three workers down (FAILED as Poison) and messages that are not smoother's. ID is a request_id, of a
foreign message its message id. Looking at a message hides it from others until the command ends.")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows the messages and the requests they belong to
    List(ListArgs),
    /// Shows one request's story and its message
    Show(ShowArgs),
    /// Puts FAILED requests back into line and deletes their messages
    Redrive(RedriveArgs),
    /// Deletes messages; their requests stay FAILED and can no longer be put back into line
    Purge(PurgeArgs),
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
JSON: letters [request_id, message_id, tenant, model_id, status, error_type, why, since,
receive_count, foreign], more. Values that are not known are null.")]
struct ListArgs {
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
JSON: letters as in list, body with --body, story as smoother status ID --json has it, or null.
Exit status: 1 when no message of that ID is there.")]
struct ShowArgs {
    /// A request_id or message id
    #[arg(value_name = "ID")]
    id: String,
    /// Show the body of a message that is not smoother's; it may be private
    #[arg(long)]
    body: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Which messages.
#[derive(Debug, ClapArgs)]
#[group(required = true)]
struct Chosen {
    /// Those of these requests or message ids
    #[arg(value_name = "ID", conflicts_with = "all")]
    ids: Vec<String>,
    /// All of them
    #[arg(long)]
    all: bool,
}

impl Chosen {
    fn which(&self) -> Which {
        if self.all { Which::All } else { Which::Named(self.ids.iter().cloned().collect()) }
    }
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
A request goes back as new, at its old rank, but its calls go on counting. It ends again: consumers get
a second result message of its request_id, and the reporting table a second row. Its history keeps how
it failed and who put it back. JSON: dry_run, handled [request_id, message_id, fate]; fate is revived,
left_over, undecided or foreign. Exit status: 1 when an ID was not found or could not be put back.")]
struct RedriveArgs {
    #[command(flatten)]
    chosen: Chosen,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    operator: OperatorArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
JSON: dry_run, handled [request_id, message_id, fate]; fate is purged or undecided.
Exit status: 1 when an ID was not found or its message could not be deleted, or when not confirmed.")]
struct PurgeArgs {
    #[command(flatten)]
    chosen: Chosen,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

pub async fn dlq(args: Args) -> Done {
    match args.command {
        Command::List(args) => list(args).await,
        Command::Show(args) => show(args).await,
        Command::Redrive(args) => redrive(args).await,
        Command::Purge(args) => purge(args).await,
    }
}

fn letters(place: &Place) -> DeadLetters {
    DeadLetters::new(&place.ports, place.clock.clone())
}

async fn list(args: ListArgs) -> Done {
    let place = args.place.open_existing().await?;
    let listing = letters(&place).list(args.limit as usize).await?;
    let text = if args.json { page::json(&listing) } else { page::table(&listing, place.clock.now()) };
    print(text.trim_end())?;
    if !args.json && !listing.letters.is_empty() {
        let flags = args.place.flags();
        say(&format!("\nsmoother dlq show{flags} ID · smoother dlq redrive{flags} ID · smoother dlq purge{flags} ID"));
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(args: ShowArgs) -> Done {
    let place = args.place.open_existing().await?;
    let found = letters(&place).find(&args.id).await?;
    let Some(first) = found.first() else { return Err(missing(&[args.id])) };
    let story = match first.row() {
        Some(row) => Story::read(&place, &row.request.id, false).await?,
        None => None,
    };
    if args.json {
        print(&page::shown_json(&found, story.as_ref(), args.body))?;
    } else {
        if let Some(story) = &story {
            print(&story_page(story, &place))?;
        }
        print(page::shown(&found, args.body).trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn redrive(args: RedriveArgs) -> Done {
    let place = args.place.open_existing().await?;
    let by = args.operator.name();
    let handled = letters(&place).redrive(&args.chosen.which(), &by, args.dry_run).await?;
    report(&handled, args.dry_run, args.json, place.clock.now())?;
    let stays = |handled: &Handled| matches!(handled.fate, Fate::Undecided | Fate::Foreign);
    conclude(&handled, &args.chosen, stays)
}

async fn purge(args: PurgeArgs) -> Done {
    let place = args.place.open_existing().await?;
    let letters = letters(&place);
    let would = letters.purge(&args.chosen.which(), true).await?;
    let purged = would.iter().filter(|handled| handled.fate == Fate::Purged);
    // Just these: what arrives while somebody thinks about the answer was not asked about.
    let doomed: BTreeSet<String> = purged.map(|handled| handled.message_id.clone()).collect();
    if args.dry_run || doomed.is_empty() {
        report(&would, true, args.json, place.clock.now())?;
        return conclude(&would, &args.chosen, |handled| handled.fate == Fate::Undecided);
    }
    if !args.yes && !confirmed(&would, doomed.len() as u64)? {
        return Err(Error::Said("nothing was deleted".to_owned()));
    }
    let mut handled = letters.purge(&Which::Named(doomed), false).await?;
    handled.extend(would.into_iter().filter(|handled| handled.fate != Fate::Purged));
    report(&handled, false, args.json, place.clock.now())?;
    conclude(&handled, &args.chosen, |handled| handled.fate == Fate::Undecided)
}

/// One line a message, and a sum.
fn report(handled: &[Handled], dry_run: bool, json: bool, now: crate::clock::Timestamp) -> Result<(), Error> {
    if json {
        return print(&page::handled_json(handled, dry_run));
    }
    let mut fates: BTreeMap<Fate, u64> = BTreeMap::new();
    for one in handled {
        *fates.entry(one.fate).or_default() += 1;
        print(&page::handled(one, dry_run, now))?;
    }
    say(&page::sum(&fates, dry_run));
    Ok(())
}

/// Fails when something that was named was not found or stays as it was.
fn conclude(handled: &[Handled], chosen: &Chosen, stays: impl Fn(&Handled) -> bool) -> Done {
    if chosen.all {
        return Ok(ExitCode::SUCCESS);
    }
    let found: BTreeSet<&str> = handled.iter().flat_map(|h| [h.name.as_str(), h.message_id.as_str()]).collect();
    let absent: Vec<String> = chosen.ids.iter().filter(|id| !found.contains(id.as_str())).cloned().collect();
    if !absent.is_empty() {
        return Err(missing(&absent));
    }
    Ok(if handled.iter().any(stays) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn missing(ids: &[String]) -> Error {
    let names: Vec<String> = ids.iter().map(|id| shell_word(id)).collect();
    Error::Said(format!(
        "no message of {} is in the dead-letter queue, or somebody else looks at it right now; smoother dlq list shows what is there, smoother status ID any request",
        names.join(", ")
    ))
}

fn confirmed(would: &[Handled], doomed: u64) -> Result<bool, Error> {
    let lost = would.iter().filter(|h| h.fate == Fate::Purged && page::is_failed(h)).count() as u64;
    let mut question = format!("Delete {}?", count(doomed, "message"));
    if lost > 0 {
        question = format!("{question} {} then can no longer be put back into line.", count(lost, "FAILED request"));
    }
    if !std::io::stdin().is_terminal() {
        return Err(Error::Said(format!("{question} There is no terminal to ask on: say --yes, or --dry-run to look")));
    }
    say(&format!("{question} [y/N]"));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(Error::io("read the answer"))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
