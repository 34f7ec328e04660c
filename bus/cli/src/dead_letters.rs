//! `edgebus dead-letters`: what ended without success, each with a copy of its event.

use super::Failure;
use super::connection::Connection;
use super::deliveries::{self, DeliveryFilterArgs, last_outcome};
use super::listing::{Listing, Paged};
use super::output::Column;
use super::query::{Path, encoded};
use super::resource::{Cell, Resource};

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
const DEAD_LETTERS: &Resource = &Resource {
    noun: "dead letter",
    member: "dead_letters",
    columns: &[
        (Column::whole("ID"), Cell::Text("/id")),
        (Column::whole("REASON"), Cell::Text("/reason")),
        (Column::whole("SUBSCRIPTION"), Cell::Text("/subscription")),
        (Column::words("TYPE"), Cell::Text("/event/type")),
        (Column::whole("DIED").optional(), Cell::Time("/died_at")),
        (Column::number("ATTEMPTS").optional(), Cell::Text("/attempts_made")),
        (Column::note("LAST OUTCOME"), Cell::Made(last_outcome)),
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
