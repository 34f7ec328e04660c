//! Python with a package from PyPI, in an environment of its own under the target folder.
//!
//! No test is skipped silently: without Python or PyPI, the test fails and says so.

use std::path::PathBuf;
use std::process::{Command, Output};

/// What a command printed, if it succeeded; else the test fails with what it said.
pub(crate) fn succeeded(what: &str, output: std::io::Result<Output>) -> String {
    let output = output.unwrap_or_else(|error| panic!("{what}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{what} failed ({}): {}{said}",
        output.status,
        String::from_utf8_lossy(&output.stdout)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The interpreter of an environment with `package`, as in `name==1.2.3`; made once.
pub(crate) fn with(package: &str) -> PathBuf {
    let root = super::root();
    let named = package.replace("==", "-");
    let folder = root.join("target/python").join(&named);
    let (interpreter, whole) = (folder.join("bin/python"), folder.join("whole"));
    if !whole.exists() {
        let made = Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&folder)
            .output();
        succeeded(
            "python3 -m venv (it needs Python 3.10 or later and, on Debian, the package python3-venv)",
            made,
        );
        let installed = Command::new(&interpreter)
            .args(["-m", "pip", "install", "--quiet", package])
            .output();
        succeeded(
            &format!("pip install {package} (it needs PyPI or a mirror)"),
            installed,
        );
        std::fs::write(whole, "").unwrap();
    }
    interpreter
}
