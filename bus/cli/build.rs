//! Lists the sources of the SDK, so that `src/init/sdk.rs` embeds every one of them. Never here: anything else.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

/// What a project gets of the repository: files, and folders with the sources that are in them.
const EMBEDDED: [&str; 4] = ["LICENSE-APACHE", "LICENSE-MIT", "guest-sdk", "wit"];

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for path in EMBEDDED {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
        list(&root, path, &mut files)?;
    }
    files.sort();
    let mut text = String::from("&[\n");
    for file in files {
        let _ = writeln!(
            text,
            "    ({file:?}, include_str!({:?})),",
            root.join(&file)
        );
    }
    text.push_str("]\n");
    let out = std::env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("no OUT_DIR"))?;
    std::fs::write(PathBuf::from(out).join("sdk_files.rs"), text)
}

/// Whether a file or folder with this name goes along: not what editors, patches and systems leave behind.
fn is_source(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let ending = path.extension().unwrap_or_default();
    let source = ["rs", "toml", "wit"].iter().any(|wanted| ending == *wanted);
    !name.starts_with('.') && (path.is_dir() || source || name.starts_with("LICENSE-"))
}

/// Adds the files at `path`, with `/` between its parts on every system.
fn list(root: &Path, path: &str, files: &mut Vec<String>) -> io::Result<()> {
    if !is_source(&root.join(path)) {
        return Ok(());
    }
    if root.join(path).is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(root.join(path))? {
        let name = entry?.file_name();
        list(root, &format!("{path}/{}", name.to_string_lossy()), files)?;
    }
    Ok(())
}
