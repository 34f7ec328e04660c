//! `edgebus apply`: what a manifest would change on a running bus, the question, and the change as one
//! transaction, components included.
//!
//! Applies exactly the plan that the user confirmed: it is sent with its rule-set version, and the bus refuses
//! it if the version has changed. Never here: the comparison, which the bus makes.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write as _};
use std::path::PathBuf;

use bytes::Bytes;
use edgebus_api::{ChangeKind, ManifestEnvelope, Plan, PlannedChange};
use edgebus_client::Apply;
use serde_json::json;

use super::client::Client;
use super::connection::Connection;
use super::output::counted;
use super::output::{self, Progress};
use super::validate::{self, Checked, Format, Purpose};
use super::{Failure, OK};
use edgebus_model::Digest;

/// Arguments of `apply`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus apply                                show the plan, ask, apply
  edgebus apply --dry-run                      show the plan only
  edgebus apply deploy/edgebus.yaml --url http://127.0.0.1:8080 --yes
  edgebus apply --dry-run -o json | jq '.changes[] | .kind'

Exits with 78 if the manifest has errors. Nothing is changed unless all of it is.")]
pub(super) struct Arguments {
    /// The manifest. `-` is standard input; then paths in it are relative to the working folder.
    #[arg(value_name = "FILE", default_value = validate::FILE)]
    file: PathBuf,
    #[command(flatten)]
    connection: Connection,
    /// Apply without asking.
    #[arg(long, short)]
    yes: bool,
    /// Show the plan and change nothing.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Treat a warning as an error.
    #[arg(long)]
    deny_warnings: bool,
    /// How to print the plan.
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// A change on one line.
fn line(change: &PlannedChange, coloured: bool) -> String {
    let (sign, codes) = match &change.kind {
        ChangeKind::Add => ('+', "32"),
        ChangeKind::Remove => ('-', "31"),
        _ => ('~', "33"),
    };
    let aspects = match change.aspects.as_slice() {
        [] => String::new(),
        aspects => format!(" ({})", aspects.join(", ")),
    };
    let head = format!("{sign} {} {}{aspects}", change.what, change.name);
    if coloured {
        format!(
            "\x1b[{codes}m{head}\x1b[0m\x1b[2m: {}\x1b[0m",
            change.effect
        )
    } else {
        format!("{head}: {}", change.effect)
    }
}

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    let client = arguments.connection.client()?;
    let checked = Checked::read(&arguments.file, Purpose::Apply, None)?;
    checked.tell(arguments.deny_warnings)?;
    let components: BTreeMap<Digest, Bytes> = checked
        .components
        .values()
        .map(|bytes| (Digest::of(bytes), bytes.clone()))
        .collect();
    let manifest = envelope(&checked);
    let dry_run = Apply {
        dry_run: true,
        ..Apply::default()
    };
    let plan = client.apply(&manifest, &dry_run).await?;
    if plan.changes.is_empty() {
        told(&arguments, &plan, false, "nothing to change");
        return Ok(OK);
    }
    show(&arguments, &plan);
    if arguments.dry_run {
        told(&arguments, &plan, false, "nothing was changed (--dry-run)");
        return Ok(OK);
    }
    if !arguments.yes && !agreed()? {
        return Err(Failure::new("the plan was declined; nothing was changed"));
    }
    let progress = Progress::on_terminal("applying");
    let applied = carry_out(&client, &plan, &components, &manifest, &progress).await;
    progress.finish();
    let version = applied?.version;
    let plan = Plan { version, ..plan };
    told(&arguments, &plan, true, "applied");
    Ok(OK)
}

/// The manifest with the digests of the components that are files here.
fn envelope(checked: &Checked) -> ManifestEnvelope {
    let digest = |bytes: &Bytes| format!("blake3:{}", Digest::of(bytes));
    let components = checked.components.iter();
    ManifestEnvelope {
        manifest: checked.text.clone(),
        components: components
            .map(|(name, bytes)| (name.to_string(), digest(bytes)))
            .collect(),
    }
}

/// Shows the plan. As text it is the command's output; otherwise it is shown only for the question.
fn show(arguments: &Arguments, plan: &Plan) {
    let print: fn(&str) = match arguments.output {
        Format::Text => |line| {
            output::print(line);
        },
        Format::Json if arguments.yes || arguments.dry_run => return,
        Format::Json => output::note,
    };
    for change in &plan.changes {
        print(&line(change, output::coloured()));
    }
    let count = |kind: ChangeKind| {
        let changes = plan.changes.iter();
        changes.filter(|change| change.kind == kind).count()
    };
    let components = match plan.missing.len() {
        0 => String::new(),
        count => format!("; {} to send", counted(count, "component", "components")),
    };
    print(&format!(
        "{} to add, {} to change, {} to remove{components}",
        count(ChangeKind::Add),
        count(ChangeKind::Change),
        count(ChangeKind::Remove),
    ));
}

/// Says how it ended.
fn told(arguments: &Arguments, plan: &Plan, applied: bool, words: &str) {
    output::print(&match arguments.output {
        Format::Text => format!("{words}: rule-set version {} is active", plan.version),
        Format::Json => json!({
            "applied": applied,
            "version": plan.version,
            "changes": plan.changes,
        })
        .to_string(),
    });
}

/// Asks on the terminal.
fn agreed() -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(
            "stdin is not a terminal, so nothing was changed; add --yes to apply without the question, or --dry-run to only see the plan",
        ));
    }
    let mut errors = std::io::stderr();
    // A closed standard error shows no question, and the answer is then no.
    let _ = write!(errors, "apply these changes? [y/N] ").and_then(|()| errors.flush());
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .map_err(|error| Failure::new(format!("the answer can't be read: {error}")))?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes" | "Yes"))
}

/// Sends the components that the bus does not have, and applies the plan if it is still current. Sending a
/// component does not deploy it.
async fn carry_out(
    client: &Client,
    plan: &Plan,
    components: &BTreeMap<Digest, Bytes>,
    manifest: &ManifestEnvelope,
    progress: &Progress,
) -> Result<Plan, Failure> {
    for (number, text) in (1..).zip(&plan.missing) {
        let hex = text.trim_start_matches("blake3:");
        let found = Digest::from_hex(hex).and_then(|digest| components.get(&digest));
        let Some(bytes) = found else {
            return Err(Failure::configuration(format!(
                "the manifest names the component {text} by digest, and the bus does not have it; nothing was changed: name its file instead"
            )));
        };
        progress.say(&format!(
            "sending component {number} of {} ({} KiB)",
            plan.missing.len(),
            bytes.len().div_ceil(1_024)
        ));
        client.stage(hex, bytes.clone()).await?;
    }
    progress.say("compiling functions and applying");
    let how = Apply {
        expected_version: Some(plan.version),
        ..Apply::default()
    };
    Ok(client.apply(manifest, &how).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgebus_api::ChangedThing;

    #[test]
    fn a_change_is_one_line() {
        let change = |kind: &str, aspects: &[&str]| PlannedChange {
            kind: ChangeKind::from(kind),
            what: ChangedThing::Rule,
            name: "orders".to_owned(),
            aspects: aspects.iter().map(ToString::to_string).collect(),
            effect: "nothing is pending".to_owned(),
        };
        let table = [
            (change("add", &[]), "+ rule orders: nothing is pending"),
            (change("remove", &[]), "- rule orders: nothing is pending"),
            (
                change("change", &["match", "where"]),
                "~ rule orders (match, where): nothing is pending",
            ),
        ];
        for (change, expected) in table {
            assert_eq!(line(&change, false), expected);
            assert!(line(&change, true).starts_with("\x1b[3"));
        }
    }
}
