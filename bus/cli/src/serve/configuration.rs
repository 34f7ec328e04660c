//! The manifest file of a serving bus: read, compared with the one that was applied last, applied.
//!
//! A file that has not changed since this command applied it is not applied again, so that changes over the
//! API stay. What was applied is noted beside the store: a digest and a time.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::super::Failure;
use super::super::output;
use super::super::validate::{self, Checked, Purpose};
use edgebus_engine::bus::Bus;
use edgebus_manifest as manifest;
use edgebus_model::{Name, Timestamp};

/// The note's file in the store's folder.
const NOTE: &str = "manifest.applied";

/// A manifest file with the components that it names.
pub(crate) struct Configuration {
    path: PathBuf,
    /// Warnings, one line each.
    pub(crate) warnings: Vec<String>,
    pub(crate) text: String,
    pub(crate) components: BTreeMap<Name, Bytes>,
}

impl Configuration {
    /// Reads and checks a manifest and the components beside it; `secrets` is the folder of the bus's
    /// secrets.
    pub(crate) fn read(path: &Path, secrets: Option<&Path>) -> Result<Self, Failure> {
        let checked = Checked::read(path, Purpose::Run, secrets)?;
        if !checked.errors.is_empty() {
            return Err(Failure::configuration(format!(
                "the manifest has errors; nothing was changed\n{}",
                checked.show(validate::style())
            ))
            .coded(checked.code()));
        }
        Ok(Self {
            path: path.to_owned(),
            warnings: checked.warning_lines().collect(),
            text: checked.text,
            components: checked.components,
        })
    }

    /// One digest of all that is applied.
    pub(crate) fn digest(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.text.as_bytes());
        for (name, component) in &self.components {
            hasher.update(name.as_str().as_bytes());
            hasher.update(blake3::hash(component).as_bytes());
        }
        hasher.finalize()
    }

    /// The line that says so, if a bus on the store in `data` has a manifest and this file was the last
    /// that was applied from here.
    pub(super) fn unchanged(&self, bus: &Bus, data: &Path) -> Option<String> {
        if bus.manifest().0.is_empty() {
            return None;
        }
        let at = noted(&data.join(NOTE), &self.digest().to_hex())?;
        Some(format!(
            "the manifest {} is unchanged since it was applied on {at}; the active one stays",
            self.path.display()
        ))
    }

    /// Applies it to a bus that has just started on the store in `data`, and returns lines that say what
    /// changed.
    ///
    /// # Errors
    /// The bus refuses it; what was active stays.
    pub(super) async fn apply(
        &self,
        bus: &Bus,
        data: &Path,
        now: Timestamp,
    ) -> Result<Vec<String>, Failure> {
        let applied = bus.apply_with_components(&self.text, &self.components, false);
        let plan = applied.await.map_err(|error| self.failure(&error))?;
        // Without the note the next start applies the file again, which is right and not needed.
        let note = data.join(NOTE);
        if let Err(error) = write(&note, &format!("{}\n{now}\n", self.digest().to_hex())) {
            tracing::warn!(file = %note.display(), %error, "can't write the note that the manifest was applied");
        }
        let changes = match plan.changes.len() {
            0 => "nothing differs from the active one".to_owned(),
            count => output::counted(count, "change", "changes"),
        };
        let mut lines = self.warnings.clone();
        let shown = self.path.display();
        lines.push(format!("the manifest {shown} is applied: {changes}"));
        lines.extend(plan.changes.iter().map(|change| format!("  {change}")));
        Ok(lines)
    }

    pub(crate) fn failure(&self, error: &edgebus_model::error::Error) -> Failure {
        if error.errors.is_empty() {
            return Failure::configuration(error.message.clone()).coded(error.code);
        }
        Failure::configuration(format!(
            "{}\n{}",
            error.message,
            manifest::show(
                &error.errors,
                &self.text,
                &self.path.display().to_string(),
                validate::style()
            )
        ))
        .coded(error.code)
    }
}

/// When the file of this digest was applied, if it was the last.
fn noted(note: &Path, digest: &str) -> Option<String> {
    let text = fs::read_to_string(note).ok()?;
    let (of, at) = text.split_once('\n')?;
    (of == digest).then(|| at.trim_end().to_owned())
}

/// Replaces the file as a whole.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let making = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&making)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&making, path)
}
