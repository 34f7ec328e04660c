//! The manifest (`edgebus.yaml`): YAML text in, a checked model out, or every error of it at once.
//!
//! In reading order: `tree` is the text as nodes with places; `shape` is every key with its bounds; `cursor`
//! and `scalar` take nodes apart; `buses`, `functions`, `rules`, `pattern` and `cases` are its sections;
//! `document` keeps the places for later checks, `lint` has the warnings; `plan` is what applying a manifest
//! would change; `show` prints errors under the lines they are in; `schema` and `reference` are the shape for
//! editors and for people.
//!
//! Never here: files, the store, a clock. Unknown keys and values are errors with line, column and correction;
//! nothing is ignored.

#![forbid(unsafe_code)]

mod buses;
mod cases;
mod cursor;
mod document;
mod errors;
mod functions;
mod input;
mod lint;
mod nearest;
mod pattern;
mod plan;
#[cfg(test)]
mod reference;
mod rules;
mod scalar;
mod schema;
mod shape;
mod show;
#[cfg(test)]
mod tests;
mod tree;
pub mod view;

pub use cases::{EventSource, TestCase};
pub use document::{Document, Side};
pub use errors::ERRORS_MAX;
pub use functions::{Build, ComponentSource, FunctionDeclaration};
pub use lint::{Lint, Warning, warnings};
pub use plan::{Change, ChangeKind, Counting, PendingCount, PendingOf, Subject, plan};
pub use rules::DEAD_LETTER_MS_DEFAULT;
pub use scalar::{duration_text, retention_text, size_text};
pub use schema::schema;
pub use show::{Style, show, show_all, show_within};
pub use tree::{DEPTH_MAX, MANIFEST_BYTES_MAX, NODES_MAX};

use std::collections::{BTreeMap, BTreeSet};

use edgebus_model::error::InputError;
use edgebus_model::{BusConfig, Name, RuleConfig, StartPosition};

use cursor::{Cursor, Fields};
use errors::Errors;
use tree::Value;

/// The only version of the format there is.
pub const VERSION: u64 = 1;

/// A manifest without an error.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Manifest {
    /// The format's version.
    pub version: u64,
    /// The buses, the default bus among them whether declared or not.
    pub buses: Vec<BusConfig>,
    /// The functions.
    pub functions: Vec<FunctionDeclaration>,
    /// The rules; each names a bus and functions that are here.
    pub rules: Vec<RuleConfig>,
    /// Rules whose new subscriptions begin in the past.
    pub starts: BTreeMap<Name, StartPosition>,
    /// The tests; each names rules and a bus that are here.
    pub tests: Vec<TestCase>,
}

/// Reads a manifest.
///
/// # Errors
/// Every error that could be found (at most [`ERRORS_MAX`]), in the order of the text, each with JSON
/// pointer, line and column. An error of YAML's syntax hides what comes after it.
pub fn parse(text: &str) -> Result<Manifest, Vec<InputError>> {
    let document = Document::read(text);
    if document.errors.is_empty() {
        Ok(document.manifest)
    } else {
        Err(document.errors)
    }
}

fn read(root: &Cursor<'_>, errors: &mut Errors) -> Option<Manifest> {
    let fields = root.fields(&shape::ROOT, errors)?;
    let version = version(&fields, errors);
    let mut buses = buses::read(fields.get("buses"), errors);
    let functions = functions::read(fields.get("functions"), errors);
    let known = rules::Declared {
        buses: &buses.names,
        functions: &functions.names,
    };
    let mut starts = BTreeMap::new();
    let rules = rules::read(fields.get("rules"), &known, &mut starts, errors);
    let declared = cases::Declared::of(&buses.names, &rules.names, &rules.items);
    let tests = cases::read(fields.get("tests"), &declared, errors);
    buses::name_system_bus(&mut buses, &rules.items);
    Some(Manifest {
        version: version.unwrap_or_default(),
        buses: buses.items,
        functions: functions.items,
        rules: rules.items,
        starts,
        tests,
    })
}

/// What a section declares. The names include invalid entries, so that one error is not reported twice.
struct Section<T> {
    items: Vec<T>,
    names: BTreeSet<String>,
}

fn version(fields: &Fields<'_>, errors: &mut Errors) -> Option<u64> {
    let at = fields.require("version", errors)?;
    let known = matches!(&at.node.value, Value::Plain(text) if text == "1");
    if !known {
        errors.add(
            &at.spot(),
            "this version of the manifest is not known",
            "write `version: 1`, without quotes",
        );
    }
    known.then_some(VERSION)
}
