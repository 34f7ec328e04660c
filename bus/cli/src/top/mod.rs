//! `edgebus top`: rates, lag and failures by subscription, live.
//!
//! It asks a running bus every so often and shows the differences: `poll` asks, `rates` is the arithmetic,
//! `screen` draws. Never here: data that the bus would keep only for `top`.

mod poll;
mod rates;
mod screen;

use std::io::IsTerminal as _;
use std::time::Duration;

use super::connection::Connection;
use super::{Failure, OK, client, output};
use rates::Rates;
use screen::Asked;

/// Arguments of `top`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus top                          until q is pressed; arrows scroll, s sorts
  edgebus top --every 5s --sort failures
  edgebus top --once                   one look, as plain text; also when the output is no terminal")]
pub(super) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// Time between two updates, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    every: f64,
    /// The order of the rows.
    #[arg(long, value_enum, default_value_t = Sort::Rate)]
    sort: Sort,
    /// Print the rates once and end.
    #[arg(long)]
    once: bool,
}

/// The order of the rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Sort {
    /// The most deliveries a second.
    Rate,
    /// The oldest delivery that is still pending.
    Lag,
    /// The most failed attempts a second, then dead letters.
    Failures,
    /// By name.
    Name,
}

impl Sort {
    fn next(self) -> Self {
        match self {
            Self::Rate => Self::Lag,
            Self::Lag => Self::Failures,
            Self::Failures => Self::Name,
            Self::Name => Self::Rate,
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('s').parse::<f64>() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("write seconds from 0.1 to 3600, as in 1 or 2.5".to_owned()),
    }
}

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    let client = arguments.connection.client()?;
    let every = Duration::from_secs_f64(arguments.every);
    let mut before = poll::look(&client).await?;
    if arguments.once || !std::io::stdout().is_terminal() {
        tokio::time::sleep(every).await;
        let after = poll::look(&client).await?;
        let rates = Rates::between(&before, &after, arguments.sort);
        output::print(rates.text().trim_end());
        return Ok(OK);
    }
    let mut screen = screen::Screen::open()?;
    let mut sort = arguments.sort;
    let mut rates = Rates::between(&before, &before, sort);
    let mut poll_error = None;
    loop {
        screen.draw(&rates, &arguments.connection.url, poll_error.as_deref())?;
        match screen.asked_within(every).await? {
            None => {}
            Some(Asked::Quit) => return Ok(OK),
            Some(Asked::Draw) => continue,
            Some(Asked::Sort) => {
                sort = sort.next();
                rates.sort(sort);
                continue;
            }
        }
        match poll::look(&client).await {
            Ok(after) => {
                rates = Rates::between(&before, &after, sort);
                before = after;
                poll_error = None;
            }
            // The bus may come back, so the last picture stays, with the error.
            Err(error) => poll_error = Some(client::words(&error)),
        }
    }
}
