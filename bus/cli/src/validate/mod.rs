//! `edgebus validate`: a manifest and the files that it names, checked without a bus; every error and
//! warning at once.

pub(super) mod files;
mod log;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::json;

use super::output::counted;
use super::{CONFIGURATION, Failure, OK, output};
use edgebus_engine::secrets::secret as value_of;
use edgebus_manifest::{
    self as manifest, Document, Lint, MANIFEST_BYTES_MAX, Manifest, Style, Warning,
};
use edgebus_model::error::InputError;
use edgebus_model::{Code, Name};

/// Where a manifest is looked for.
pub(super) const FILE: &str = "edgebus.yaml";

/// How a report is printed.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    /// Lines for people.
    Text,
    /// One JSON object.
    Json,
}

/// Arguments of `validate`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus validate
  edgebus validate samples/edgebus.yaml --deny-warnings
  edgebus validate --deny-warnings --allow untested-rule --allow secret-unset
  edgebus validate --log http://127.0.0.1:7070
  envsubst < edgebus.yaml.in | edgebus validate -
  edgebus validate -o json | jq '.errors[] | {line, reason}'

Exits with 78 if there is an error.")]
pub(super) struct Arguments {
    /// The manifest. `-` is standard input; then paths in it are relative to the working folder.
    #[arg(value_name = "FILE", default_value = FILE)]
    file: PathBuf,
    /// Treat a warning as an error.
    #[arg(long)]
    deny_warnings: bool,
    /// Ignore warnings of this name, as warning[NAME] shows it. May be given several times.
    #[arg(long, value_name = "WARNING", value_parser = lint)]
    allow: Vec<Lint>,
    /// Warn of rules whose event types never occurred in the log of the bus at this address.
    #[arg(long, value_name = "URL")]
    log: Option<String>,
    /// How to print what was found.
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// Reads the name of a warning.
fn lint(name: &str) -> Result<Lint, String> {
    Lint::named(name).ok_or_else(|| {
        let names: Vec<&str> = Lint::ALL.iter().map(|lint| lint.name()).collect();
        format!(
            "no warning has this name; write one of {}",
            names.join(", ")
        )
    })
}

/// Where a bus that is started here has its secrets.
const SECRETS_DIR: &str = "EDGEBUS_SECRETS_DIR";

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    let secrets = std::env::var_os(SECRETS_DIR).map(PathBuf::from);
    let mut checked = Checked::read(&arguments.file, Purpose::Look, secrets.as_deref())?;
    if let Some(url) = arguments
        .log
        .as_deref()
        .filter(|_| checked.errors.is_empty())
    {
        log::check(&mut checked, url).await?;
    }
    let allowed = |warning: &Warning| arguments.allow.contains(&warning.lint);
    checked.warnings.retain(|warning| !allowed(warning));
    let refused = checked.refused(arguments.deny_warnings);
    match arguments.output {
        Format::Json => {
            output::print(&checked.report(refused).to_string());
            Ok(if refused { CONFIGURATION } else { OK })
        }
        Format::Text => {
            checked.tell(arguments.deny_warnings)?;
            let found = holds(&checked.document.manifest);
            output::print(&format!("{} is valid: {found}", checked.shown));
            Ok(OK)
        }
    }
}

/// What the manifest is read for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// To be checked only: a component that is not built yet is not an error.
    Look,
    /// To be applied by this process: every component and secret must be there.
    Run,
    /// To be applied by another: every component must be there; the secrets are the other's.
    Apply,
    /// To run its tests, for which components don't matter.
    Test,
}

/// A manifest file that was read, with everything that there is to say of it.
pub(super) struct Checked {
    /// The file's name as messages show it.
    pub(super) shown: String,
    /// The folder that its paths begin in.
    pub(super) folder: PathBuf,
    pub(super) text: String,
    pub(super) document: Document,
    /// In the order of the text.
    pub(super) errors: Vec<InputError>,
    /// In the order of the text; none where there are errors of the text itself.
    pub(super) warnings: Vec<Warning>,
    /// The components that are files.
    pub(super) components: BTreeMap<Name, Bytes>,
    /// The page of the first component that can't be used.
    file_code: Option<Code>,
}

impl Checked {
    /// Reads and checks the manifest at `path` and the files that it names; `secrets` is the folder in
    /// which the bus has its secrets.
    ///
    /// # Errors
    /// The file can't be read. Errors are a part of the answer.
    pub(super) fn read(
        path: &Path,
        purpose: Purpose,
        secrets: Option<&Path>,
    ) -> Result<Self, Failure> {
        let shown = shown(path);
        let text = text_of(path).map_err(|reason| {
            let hint = match path.to_str() {
                Some(FILE) => "; name another one, or make one with `version: 1` in it",
                _ => "",
            };
            Failure::configuration(format!(
                "the manifest {shown} can't be read: {reason}{hint}"
            ))
            .coded(Code::ManifestUnreadable)
        })?;
        let document = Document::read(&text);
        let mut checked = Self {
            shown,
            folder: folder_of(path).to_owned(),
            text,
            errors: document.errors.clone(),
            document,
            warnings: Vec::new(),
            components: BTreeMap::new(),
            file_code: None,
        };
        // For tests only their results matter.
        if checked.errors.is_empty() && purpose != Purpose::Test {
            let is_set =
                |secret: &str| purpose == Purpose::Apply || value_of(secrets, secret).is_some();
            checked.warnings = manifest::warnings(&checked.document, &is_set);
        }
        files::check(&mut checked, purpose);
        checked.errors.sort_by_key(|error| error.place);
        checked.warnings.sort_by_key(|warning| warning.error.place);
        Ok(checked)
    }

    /// True if it can't be used.
    pub(super) fn refused(&self, deny_warnings: bool) -> bool {
        !self.errors.is_empty() || (deny_warnings && !self.warnings.is_empty())
    }

    /// The page of what is wrong.
    pub(super) fn code(&self) -> Code {
        match self.file_code {
            Some(code) if self.document.errors.is_empty() => code,
            _ => Code::ManifestInvalid,
        }
    }

    /// Reads and checks the text of the manifest at `path` alone, without the files that it names.
    ///
    /// # Errors
    /// Every error.
    pub(super) fn text_alone(path: &Path) -> Result<Manifest, Failure> {
        let shown = shown(path);
        let text = text_of(path).map_err(|reason| {
            Failure::configuration(format!("the manifest {shown} can't be read: {reason}"))
                .coded(Code::ManifestUnreadable)
        })?;
        let document = Document::read(&text);
        if document.errors.is_empty() {
            return Ok(document.manifest);
        }
        Err(Failure::configuration(format!(
            "the manifest has errors; nothing was changed\n{}",
            manifest::show_within(
                &document.errors,
                &[],
                &text,
                &shown,
                style(),
                output::error_width()
            )
        ))
        .coded(Code::ManifestInvalid))
    }

    /// Errors and warnings, each under its line.
    pub(super) fn show(&self, style: Style) -> String {
        let text = manifest::show_within(
            &self.errors,
            &self.warnings,
            &self.text,
            &self.shown,
            style,
            output::error_width(),
        );
        text.trim_end().to_owned()
    }

    /// Tells errors and warnings on standard error.
    ///
    /// # Errors
    /// It can't be used.
    pub(super) fn tell(&self, deny_warnings: bool) -> Result<(), Failure> {
        if !self.errors.is_empty() || !self.warnings.is_empty() {
            output::note(&self.show(style()));
            output::note("");
        }
        if !self.refused(deny_warnings) {
            return Ok(());
        }
        let errors = counted(self.errors.len(), "error", "errors");
        let warnings = counted(self.warnings.len(), "warning", "warnings");
        let found = match (self.errors.len(), self.warnings.len()) {
            (_, 0) => errors,
            (0, _) => format!("{warnings}, which --deny-warnings refuses"),
            _ => format!("{errors} and {warnings}"),
        };
        let failure = Failure::configuration(format!("{} has {found}", self.shown));
        Err(failure.coded(self.code()))
    }

    /// Each warning on a line of its own, for a log.
    pub(super) fn warning_lines(&self) -> impl Iterator<Item = String> {
        self.warnings.iter().map(|Warning { lint, error }| {
            let (line, column) = error.place.unwrap_or((1, 1));
            format!(
                "warning[{}]: {}:{line}:{column}: {}; {}",
                lint.name(),
                self.shown,
                error.reason,
                error.remedy
            )
        })
    }

    fn report(&self, refused: bool) -> serde_json::Value {
        let one = |error: &InputError| {
            json!({
                "pointer": error.pointer,
                "line": error.place.map(|(line, _)| line),
                "column": error.place.map(|(_, column)| column),
                "reason": error.reason,
                "remedy": error.remedy,
            })
        };
        let errors: Vec<serde_json::Value> = self.errors.iter().map(one).collect();
        let warnings = self.warnings.iter().map(|warning| {
            let mut told = one(&warning.error);
            told["name"] = warning.lint.name().into();
            told
        });
        let warnings: Vec<serde_json::Value> = warnings.collect();
        let manifest = &self.document.manifest;
        json!({
            "file": self.shown,
            "valid": !refused,
            "errors": errors,
            "warnings": warnings,
            "holds": {
                "buses": manifest.buses.len(),
                "functions": manifest.functions.len(),
                "rules": manifest.rules.len(),
                "subscriptions": subscriptions(manifest),
                "tests": manifest.tests.len(),
            },
        })
    }
}

/// What stands for standard input.
const STANDARD_INPUT: &str = "-";

fn shown(path: &Path) -> String {
    match path.to_str() {
        Some(STANDARD_INPUT) => "standard input".to_owned(),
        _ => path.display().to_string(),
    }
}

/// The folder in which the paths of a manifest begin: its own, or the working folder for one that comes
/// through a pipe, as with `validate <(command)`.
fn folder_of(path: &Path) -> &Path {
    let piped = path == Path::new(STANDARD_INPUT)
        || std::fs::metadata(path).is_ok_and(|found| !found.is_file());
    match path.parent() {
        Some(parent) if !piped => parent,
        _ => Path::new(""),
    }
}

fn text_of(path: &Path) -> Result<String, String> {
    let file: Box<dyn std::io::Read> = match path.to_str() {
        Some(STANDARD_INPUT) => Box::new(std::io::stdin().lock()),
        _ => Box::new(std::fs::File::open(path).map_err(|error| error.to_string())?),
    };
    let mut bytes = Vec::new();
    // One byte more than is allowed, so that reading the text says that it is too large.
    let mut bounded = std::io::Read::take(file, MANIFEST_BYTES_MAX as u64 + 1);
    std::io::Read::read_to_end(&mut bounded, &mut bytes).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
            .split(|byte| *byte == b'\n')
            .count();
        format!("line {line} is not UTF-8")
    })
}

/// How messages on standard error may look.
pub(super) fn style() -> Style {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if std::io::stderr().is_terminal() && !plain {
        Style::Coloured
    } else {
        Style::Plain
    }
}

fn subscriptions(manifest: &Manifest) -> usize {
    manifest.rules.iter().map(|rule| rule.targets.len()).sum()
}

/// `1 bus, 3 functions, 4 rules, 4 subscriptions, 5 tests`.
fn holds(manifest: &Manifest) -> String {
    [
        counted(manifest.buses.len(), "bus", "buses"),
        counted(manifest.functions.len(), "function", "functions"),
        counted(manifest.rules.len(), "rule", "rules"),
        counted(subscriptions(manifest), "subscription", "subscriptions"),
        counted(manifest.tests.len(), "test", "tests"),
    ]
    .join(", ")
}
