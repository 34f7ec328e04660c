//! `edgebus completions` and `edgebus man`: what shells and manuals know of the command line, made from it.
//!
//! Never here: words of their own; every one comes from the commands.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Failure, OK, output};

/// Arguments of `completions`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus completions bash > ~/.local/share/bash-completion/completions/edgebus
  edgebus completions zsh  > \"${fpath[1]}/_edgebus\"
  edgebus completions fish > ~/.config/fish/completions/edgebus.fish")]
pub(super) struct CompletionsArguments {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Arguments of `man`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus man | man -l -                   read it
  edgebus man --dir ~/.local/share/man/man1   a page for each command, for `man edgebus-publish`")]
pub(super) struct ManArguments {
    /// Write a page for each command into this folder instead of printing the first one.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn completions(arguments: &CompletionsArguments) -> Result<u8, Failure> {
    let mut out = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut super::Arguments::command(),
        "edgebus",
        &mut out,
    );
    print_bytes(&out)
}

pub(super) fn man(arguments: &ManArguments) -> Result<u8, Failure> {
    match &arguments.dir {
        Some(folder) => write_pages(folder),
        None => {
            let mut out = Vec::new();
            clap_mangen::Man::new(super::Arguments::command())
                .render(&mut out)
                .map_err(|error| Failure::new(format!("the page can't be made: {error}")))?;
            print_bytes(&out)
        }
    }
}

fn write_pages(folder: &Path) -> Result<u8, Failure> {
    let failed = |error| Failure::new(format!("{} can't be written: {error}", folder.display()));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let command = super::Arguments::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command, folder).map_err(failed)?;
    output::note(&format!("pages written to {}", folder.display()));
    Ok(OK)
}

fn print_bytes(bytes: &[u8]) -> Result<u8, Failure> {
    // A reader that went away has what it wanted.
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(bytes).and_then(|()| out.flush());
    Ok(OK)
}
