//! `edgebus init`: writes a complete project into a folder, and prints the next commands.
//!
//! In reading order: `template` is what a project consists of, `sdk` has the SDK for its functions, `lock`
//! pins the versions of dependencies, `place` writes files into a folder or leaves it as it was. Never here:
//! a build, a network access, a file that is overwritten.

mod lock;
mod place;
mod sdk;
mod template;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use super::output;
use super::{Failure, OK};
use template::Template;

/// The longest name of a project, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Arguments of `init`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus init hello && cd hello && edgebus dev
  edgebus init --template sensors --name greenhouse   in the new folder greenhouse
  edgebus init --sdk-only                             after a new version of edgebus")]
pub(super) struct Arguments {
    /// The folder of the project, created if it is missing. The default is a new folder with the name of
    /// --name, or this folder.
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// What the project starts with.
    #[arg(long, value_enum, default_value_t = Template::Rust)]
    template: Template,
    /// The project's name: lower-case letters, digits and `-`; without it, the folder's name.
    #[arg(long, value_parser = checked_name)]
    name: Option<String>,
    /// Only replace the project's SDK by the SDK of this edgebus.
    #[arg(long, conflicts_with_all = ["template", "name"])]
    sdk_only: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let folder = match (&arguments.folder, &arguments.name) {
        (Some(folder), _) => folder.clone(),
        (None, Some(name)) => PathBuf::from(name),
        (None, None) => PathBuf::from("."),
    };
    let folder = folder.as_path();
    if arguments.sdk_only {
        return renew_sdk(folder);
    }
    let name = match &arguments.name {
        Some(name) => name.clone(),
        None => name_of(folder),
    };
    let mut files = arguments.template.files(&name);
    files.extend(sdk::files());
    files.push(("Cargo.lock".to_owned(), lock::text()));
    files.push((SCHEMA.to_owned(), edgebus_manifest::schema()));
    place::place(folder, &files)?;
    tell(folder, arguments.template, &name);
    Ok(OK)
}

/// The path of the schema that the manifest's first line names for editors.
const SCHEMA: &str = ".edgebus/edgebus.schema.json";

fn renew_sdk(folder: &Path) -> Result<u8, Failure> {
    if !folder.join(sdk::FOLDER).is_dir() {
        return Err(Failure::new(format!(
            "{} holds no SDK, so this is no project that `edgebus init` made: name its folder, as in edgebus init --sdk-only hello",
            folder.join(sdk::FOLDER).display()
        )));
    }
    place::replace(folder, sdk::FOLDER, &sdk::files())?;
    let schema = folder.join(SCHEMA);
    std::fs::write(&schema, edgebus_manifest::schema())
        .map_err(|error| Failure::new(format!("{} can't be written: {error}", schema.display())))?;
    output::print(&format!(
        "{} is now that of edgebus {}",
        folder.join(sdk::FOLDER).display(),
        env!("CARGO_PKG_VERSION")
    ));
    Ok(OK)
}

fn tell(folder: &Path, template: Template, name: &str) {
    let program = super::shown_program();
    let here = folder == Path::new(".");
    let enter = if here {
        String::new()
    } else {
        format!("cd {} && ", shown_path(folder))
    };
    let shown = if here {
        "this folder".to_owned()
    } else {
        folder.display().to_string()
    };
    output::print(&format!("created {name} in {shown}"));
    for (path, what) in template.tour() {
        output::print(&format!("  {path:<31} {what}"));
    }
    output::print("When it runs, in another terminal:");
    output::print(&format!(
        "  {enter}{program} publish --file {} --new-id",
        template.event()
    ));
    output::print("Type next:");
    output::print(&format!("  {enter}{program} dev"));
}

/// The path as a shell takes it.
fn shown_path(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |character: char| character.is_alphanumeric() || "/._-+@%".contains(character);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

fn checked_name(text: &str) -> Result<String, String> {
    if sanitised(text) == text {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "write it with lower-case letters, digits and `-`, as in `{}`",
            sanitised(text)
        ))
    }
}

/// The name that a folder gives to its project.
fn name_of(folder: &Path) -> String {
    let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    // `.` and `..` have names only where they lead.
    let whole = whole.canonicalize().unwrap_or(whole);
    let last = whole.file_name().unwrap_or_default();
    sanitised(&last.to_string_lossy())
}

/// `text` with lower-case letters, digits and single `-` inside only.
fn sanitised(text: &str) -> String {
    let mut name = String::new();
    for character in text.chars() {
        let character = character.to_ascii_lowercase();
        if character.is_ascii_alphanumeric() {
            name.push(character);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
        if name.len() == NAME_BYTES_MAX {
            break;
        }
    }
    let name = name.trim_end_matches('-');
    if name.is_empty() {
        "project".to_owned()
    } else {
        name.to_owned()
    }
}
