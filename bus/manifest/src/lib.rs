//! The manifest (`edgebus.yaml`): YAML text in, a checked model out, or every fault of it at once.
//!
//! In reading order: `tree` is the text as nodes with places; `shape` is every key with its bounds;
//! `cursor` and `scalar` take nodes apart; `buses`, `functions`, `rules`, `pattern` and `cases` are its
//! sections; `document` keeps the places for who looks further, `lint` warns of what is no fault;
//! `plan` is what applying a manifest would change; `show` prints faults under the lines they are in;
//! `schema` and `reference` are the shape for editors and for people.
//!
//! Never here: files, the store, a clock. What is not understood is refused by name, with its line,
//! its column and how to write it right; nothing is passed over in silence.

#![forbid(unsafe_code)]

mod buses;
mod cases;
mod cursor;
mod document;
mod faults;
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
pub use faults::FAULTS_MAX;
pub use functions::{Build, ComponentSource, FunctionDeclaration};
pub use lint::{Lint, Warning, warnings};
pub use plan::{Change, ChangeKind, Counting, Owed, Owing, Subject, plan};
pub use rules::DEAD_LETTER_MS_DEFAULT;
pub use scalar::{duration_text, size_text};
pub use schema::schema;
pub use show::{Style, show, show_all, show_within};
pub use tree::{DEPTH_MAX, MANIFEST_BYTES_MAX, NODES_MAX};

use std::collections::BTreeSet;

use edgebus_model::error::Fault;
use edgebus_model::{BusConfig, RuleConfig};

use cursor::{Cursor, Fields};
use faults::Faults;
use tree::Value;

/// The only version of the format there is.
pub const VERSION: u64 = 1;

/// A manifest without a fault.
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
    /// The tests; each names rules and a bus that are here.
    pub tests: Vec<TestCase>,
}

/// Reads a manifest.
///
/// # Errors
/// Every fault that could be found (at most [`FAULTS_MAX`]), in the order of the text, each with JSON
/// pointer, line and column. A fault of YAML's syntax hides what comes after it.
pub fn parse(text: &str) -> Result<Manifest, Vec<Fault>> {
    let document = Document::read(text);
    if document.faults.is_empty() {
        Ok(document.manifest)
    } else {
        Err(document.faults)
    }
}

fn read(root: &Cursor<'_>, faults: &mut Faults) -> Option<Manifest> {
    let fields = root.fields(&shape::ROOT, faults)?;
    let version = version(&fields, faults);
    let buses = buses::read(fields.get("buses"), faults);
    let functions = functions::read(fields.get("functions"), faults);
    let known = rules::Known {
        buses: &buses.names,
        functions: &functions.names,
    };
    let rules = rules::read(fields.get("rules"), &known, faults);
    let declared = cases::Declared::of(&buses.names, &rules.names, &rules.items);
    let tests = cases::read(fields.get("tests"), &declared, faults);
    Some(Manifest {
        version: version.unwrap_or_default(),
        buses: buses.items,
        functions: functions.items,
        rules: rules.items,
        tests,
    })
}

/// What a section declares; the names also of what is faulty, so that one fault is not told twice.
struct Section<T> {
    items: Vec<T>,
    names: BTreeSet<String>,
}

fn version(fields: &Fields<'_>, faults: &mut Faults) -> Option<u64> {
    let at = fields.require("version", faults)?;
    let known = matches!(&at.node.value, Value::Plain(text) if text == "1");
    if !known {
        faults.add(
            &at.spot(),
            "this version of the manifest is not known",
            "write `version: 1`, without quotes",
        );
    }
    known.then_some(VERSION)
}
