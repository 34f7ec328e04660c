//! `edgebus dead-letters`: what ended without success, each with a copy of its event.

use edgebus_api::{DeadLetterPage, Delivery};

use super::Failure;
use super::connection::Connection;
use super::deliveries::{self, DeliveryFilterArgs, last_outcome};
use super::listing::{self, Listing, Paged};
use super::output::{Column, time};
use super::query::{Path, encoded};
use super::resource::{Resource, or_dash};

/// Arguments of `dead-letters`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus dead-letters ls --since 1d
  edgebus dead-letters get 1-42")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// List dead letters, newest first.
    Ls(List),
    /// Tell one dead letter: its event, its rule, each attempt, and why it ended.
    #[command(after_help = "Examples:
  edgebus dead-letters get 1-42
  edgebus dead-letters get 1-42 -o json")]
    Get(deliveries::Get),
}

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    match arguments.command {
        Command::Ls(arguments) => list(arguments).await,
        Command::Get(arguments) => {
            let path = format!("/v1/dead-letters/{}", encoded(arguments.id()));
            deliveries::tell(&arguments, &path).await
        }
    }
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus dead-letters ls --since 1d
  edgebus dead-letters ls --function enricher --all -o jsonl")]
struct List {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    whose: DeliveryFilterArgs,
    #[command(flatten)]
    paged: Paged,
}

/// What ended without success.
#[rustfmt::skip]
const DEAD_LETTERS: &Resource<Delivery> = &Resource {
    noun: "dead letter",
    member: "dead_letters",
    page: listing::page::<DeadLetterPage<_>>,
    columns: &[
        (Column::whole("ID"), |row| row.id.clone()),
        (Column::whole("REASON"), |row| or_dash(row.reason.as_ref().map(ToString::to_string))),
        (Column::whole("SUBSCRIPTION"), |row| row.subscription.clone()),
        (Column::words("TYPE"), |row| or_dash(row.event.as_ref().map(|event| event.kind.clone()))),
        (Column::whole("DIED").optional(), |row| or_dash(row.died_at.as_deref().map(time))),
        (Column::number("ATTEMPTS").optional(), |row| row.attempts_made.to_string()),
        (Column::note("LAST OUTCOME"), last_outcome),
    ],
};

async fn list(arguments: List) -> Result<u8, Failure> {
    let client = arguments.connection.client()?;
    let listing = Listing {
        path: arguments.whose.on(Path::new("/v1/dead-letters")),
        resource: DEAD_LETTERS,
        pages: arguments.paged.pages(),
        empty: match arguments.whose.is_set() {
            true => "no such dead letters; all of them: edgebus dead-letters ls".to_owned(),
            false => "no dead letters; what is still tried: edgebus deliveries ls".to_owned(),
        },
    };
    arguments.paged.run(&client, &listing).await
}
