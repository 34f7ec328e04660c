//! `edgebus test`: the tests of a manifest, without a bus. Each is an event, or several, with the rules
//! that it must match and those that it must not.
//!
//! Never here: running functions. The rules are matched as a running bus matches them.

mod coverage;
pub(super) mod events;
mod inputs;
mod junit;
mod report;

use std::path::PathBuf;
use std::time::Instant;

use super::output::counted;
use super::validate::{self, Checked, Format, Purpose};
use super::{FAILURE, Failure, OK, output};
use coverage::{Reached, Unreached};
use edgebus_engine::bus::Rulebook;
use edgebus_manifest::{Manifest, TestCase};
use edgebus_model::{Event, Name};

/// Arguments of `test`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus test
  edgebus test samples/edgebus.yaml --filter orders
  edgebus test --junit report.xml

A test in the manifest:
  tests:
    - name: a bug from outside
      event: { type: com.github.issues, data: { action: opened } }
      expect: [outside-issues]
`event` may also be a file or a list of both; `expect_not` names rules that must not match, and
`expect_input` what functions get. Exits with 1 if a test fails.")]
pub(super) struct Arguments {
    /// The manifest.
    #[arg(value_name = "FILE", default_value = validate::FILE)]
    file: PathBuf,
    /// Run only tests with this in their names.
    #[arg(long, value_name = "SUBSTRING")]
    filter: Option<String>,
    /// Write a report in JUnit's XML as well.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// How to print the results.
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// What the tests came to.
struct Report {
    /// The manifest's file name.
    file: String,
    results: Vec<Ran>,
    /// What of the rules no test reached.
    unreached: Vec<Unreached>,
    micros: u64,
}

/// One test that ran.
struct Ran {
    name: String,
    /// How many events it has.
    events: usize,
    micros: u64,
    /// The events that did not do what is expected.
    failures: Vec<Failed>,
}

/// An event that did not do what is expected.
struct Failed {
    /// Where the event stands.
    event: String,
    /// Its type.
    kind: String,
    /// Rules that were expected and matched.
    right: Vec<Name>,
    /// Rules that should have matched and did not, each with why.
    missed: Vec<(Name, Vec<String>)>,
    /// Rules that should not have matched and did, each with why.
    surplus: Vec<(Name, Vec<String>)>,
    /// Inputs that are not what is expected.
    inputs: Vec<WrongInput>,
    /// Why it could not be matched at all.
    error: Option<String>,
}

/// An input that is not what is expected.
struct WrongInput {
    /// The subscription or the rule, as the test names it.
    target: String,
    expected: String,
    /// What the function gets, or why it gets nothing.
    got: String,
}

impl Report {
    fn failed(&self) -> usize {
        let failed = self.results.iter().filter(|ran| !ran.failures.is_empty());
        failed.count()
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let checked = Checked::read(&arguments.file, Purpose::Test, None)?;
    if !checked.errors.is_empty() {
        checked.tell(false)?;
    }
    let manifest = &checked.document.manifest;
    let wanted = arguments.filter.as_deref().unwrap_or_default();
    let selected: Vec<&TestCase> = manifest
        .tests
        .iter()
        .filter(|test| test.name.contains(wanted))
        .collect();
    if selected.is_empty() && !wanted.is_empty() {
        let there = counted(manifest.tests.len(), "test", "tests");
        return Err(Failure::new(format!(
            "no test of {} has `{wanted}` in its name; it has {there}",
            checked.shown
        )));
    }
    if manifest.tests.is_empty() {
        output::note(&how_to(manifest, &checked.shown));
    }
    let began = Instant::now();
    let rulebook =
        Rulebook::new(manifest).map_err(|error| Failure::configuration(error.to_string()))?;
    let mut reached = Reached::new(manifest);
    let results = selected
        .into_iter()
        .map(|test| run_one(&checked, &rulebook, &mut reached, test))
        .collect();
    // What is left out by a filter was not meant to reach anything.
    let whole = wanted.is_empty() && !manifest.tests.is_empty();
    let report = Report {
        file: checked.shown.clone(),
        results,
        unreached: if whole {
            reached.unreached()
        } else {
            Vec::new()
        },
        micros: micros_since(began),
    };
    if let Some(path) = &arguments.junit {
        std::fs::write(path, junit::document(&report)).map_err(|error| {
            Failure::new(format!("{} can't be written: {error}", path.display()))
        })?;
    }
    output::print(&match arguments.output {
        Format::Text => report::text(&report, output::coloured()),
        Format::Json => report::json(&report).to_string(),
    });
    Ok(if report.failed() == 0 { OK } else { FAILURE })
}

fn micros_since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn run_one(checked: &Checked, rulebook: &Rulebook, reached: &mut Reached, test: &TestCase) -> Ran {
    let began = Instant::now();
    let (mut events, mut failures) = (0, Vec::new());
    for source in &test.events {
        // The files were read once when they were checked; one that is gone since then fails here.
        match events::load(&checked.folder, source) {
            Ok(named) => {
                events += named.len();
                named
                    .iter()
                    .for_each(|named| reached.observe(&test.bus, &named.event));
                let named = named.iter();
                failures.extend(
                    named.filter_map(|named| try_one(rulebook, test, &named.label, &named.event)),
                );
            }
            Err(errors) => failures.extend(errors.into_iter().map(|input_error| Failed {
                event: "an event".to_owned(),
                kind: String::new(),
                right: Vec::new(),
                missed: Vec::new(),
                surplus: Vec::new(),
                inputs: Vec::new(),
                error: Some(input_error.reason),
            })),
        }
    }
    Ran {
        name: test.name.clone(),
        events,
        micros: micros_since(began),
        failures,
    }
}

/// `None` if the event does what is expected.
fn try_one(rulebook: &Rulebook, test: &TestCase, label: &str, event: &Event) -> Option<Failed> {
    let (matched, error) = match rulebook.matched(&test.bus, event) {
        Ok(matched) => (matched, None),
        Err(error) => (Vec::new(), Some(error.message)),
    };
    let why = |rule: &Name, matched: bool| {
        let verdict = rulebook.verdict(rule, event);
        let lines = verdict.map(|verdict| report::why(&verdict, &test.bus, matched));
        (rule.clone(), lines.unwrap_or_default())
    };
    let missed = test.expect.iter().filter(|rule| !matched.contains(rule));
    let surplus = matched.iter().filter(|rule| match &test.expect_not {
        Some(not) => not.contains(rule),
        None => !test.expect.contains(rule),
    });
    let inputs = test.expect_input.iter().filter_map(|(target, expected)| {
        inputs::wrong(rulebook, event, &matched, target, expected)
    });
    let failed = Failed {
        event: label.to_owned(),
        kind: event.kind.clone(),
        right: test
            .expect
            .iter()
            .filter(|rule| matched.contains(rule))
            .cloned()
            .collect(),
        // Of an event that could not be matched there is nothing more to say.
        missed: missed
            .filter(|_| error.is_none())
            .map(|rule| why(rule, false))
            .collect(),
        surplus: surplus.map(|rule| why(rule, true)).collect(),
        inputs: inputs.filter(|_| error.is_none()).collect(),
        error,
    };
    let good = failed.missed.is_empty()
        && failed.surplus.is_empty()
        && failed.inputs.is_empty()
        && failed.error.is_none();
    (!good).then_some(failed)
}

/// What to write where there are no tests.
fn how_to(manifest: &Manifest, file: &str) -> String {
    let rule = manifest
        .rules
        .first()
        .map_or("RULE", |rule| rule.name.as_str());
    format!(
        "{file} has no tests; write one into it:
  tests:
    - name: what it shows
      event: {{ type: com.example.order.placed, data: {{ total: 12 }} }}
      expect: [{rule}]"
    )
}

#[cfg(test)]
mod tests;
