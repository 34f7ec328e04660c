//! A project that `edgebus init` made, outside of this repository's workspace, and `edgebus dev` in it.
//!
//! Projects stand at fixed places below the target folder and share a target folder of their own, so
//! that what they depend on is compiled once. No two tests may take the same template.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use super::server::{PATIENCE, binary, signal_to};

/// How long the first build may take, on a busy machine.
const BUILD_PATIENCE: std::time::Duration = std::time::Duration::from_secs(240);

/// The folder of a project.
pub(crate) struct Project {
    pub(crate) folder: PathBuf,
}

impl Project {
    /// A new project from `template`; the one that was there is gone.
    pub(crate) fn init(template: &str) -> Self {
        let root = super::root();
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let all = std::path::absolute(target.join("init-tests")).unwrap();
        let folder = all.join(template);
        let built = all.join("target");
        std::fs::create_dir_all(&built).unwrap();
        let _ = std::fs::remove_dir_all(&folder);
        let made = clean(Command::new(binary()).args(["init", "--template", template]))
            .arg(&folder)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        std::os::unix::fs::symlink(&built, folder.join("target")).unwrap();
        Self { folder }
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.folder.join(path)).unwrap()
    }

    /// Writes as many editors do: a new file beside it, and a rename.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let beside = self.folder.join(format!("{path}~"));
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, self.folder.join(path)).unwrap();
    }

    /// Writes the file with `from` replaced.
    pub(crate) fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "{path} has no {from}");
        self.write(path, &text.replace(from, to));
    }

    /// Runs cargo in the project.
    pub(crate) fn cargo(&self, arguments: &[&str]) {
        let mut command = Command::new(env!("CARGO"));
        let output = clean(command.args(arguments))
            .current_dir(&self.folder)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "cargo {arguments:?}:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Starts `dev` in the project and waits for its banner.
    pub(crate) fn dev(&self, arguments: &[&str]) -> Dev {
        let mut command = Command::new(binary());
        clean(&mut command)
            .args(["dev", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .current_dir(&self.folder);
        Dev::start(&mut command)
    }
}

/// What is set around the tests is not meant for the commands of a project.
pub(crate) fn clean(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars() {
        if name.starts_with("EDGEBUS_")
            || name.starts_with("CARGO_") && name != "CARGO_HOME"
            || ["RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"].contains(&name.as_str())
        {
            command.env_remove(name);
        }
    }
    command
}

/// A running `edgebus dev`; killed when dropped.
pub(crate) struct Dev {
    child: Child,
    said: Arc<Said>,
    seen: usize,
    pub(crate) address: std::net::SocketAddr,
}

/// Every line that it has printed, on either output.
#[derive(Default)]
struct Said {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Said {
    fn hear(self: &Arc<Self>, from: impl Read + Send + 'static) {
        let said = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                said.lines.lock().unwrap().push(line);
                said.more.notify_all();
            }
        });
    }
}

impl Dev {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Said::default());
        said.hear(child.stdout.take().unwrap());
        said.hear(child.stderr.take().unwrap());
        let mut dev = Self {
            child,
            said,
            seen: 0,
            address: std::net::SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        let line = dev.hears("edgebus dev listens on http://");
        dev.address = line.rsplit("http://").next().unwrap().parse().unwrap();
        dev.hears("publish --url");
        // Both outputs come at their own pace, so the rest is looked for from the start.
        dev.seen = 0;
        dev
    }

    /// Waits for a line with these words, behind the one that was heard last; gives it.
    pub(crate) fn hears(&mut self, words: &str) -> String {
        let began = Instant::now();
        let mut lines = self.said.lines.lock().unwrap();
        loop {
            if let Some(found) = lines[self.seen..]
                .iter()
                .position(|line| line.contains(words))
            {
                self.seen += found + 1;
                return lines[self.seen - 1].clone();
            }
            let left = BUILD_PATIENCE.checked_sub(began.elapsed());
            let left =
                left.unwrap_or_else(|| panic!("`{words}` was not said:\n{}", lines.join("\n")));
            assert!(
                !(self.child.try_wait().unwrap().is_some() && left < BUILD_PATIENCE - PATIENCE),
                "it has ended, and `{words}` was not said:\n{}",
                lines.join("\n")
            );
            let step = std::time::Duration::from_secs(5).min(left);
            lines = self.said.more.wait_timeout(lines, step).unwrap().0;
        }
    }

    /// True if any line so far has these words.
    pub(crate) fn heard(&self, words: &str) -> bool {
        let lines = self.said.lines.lock().unwrap();
        lines.iter().any(|line| line.contains(words))
    }

    /// Publishes with the command line; it must succeed.
    pub(crate) fn publish(&self, arguments: &[&str]) {
        let mut command = Command::new(binary());
        let output = clean(&mut command)
            .args(["publish", "--url", &format!("http://{}", self.address)])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// Sends SIGINT, as Ctrl-C does, and waits for the end.
    pub(crate) fn stop(self) -> ExitStatus {
        self.end_by(rustix::process::Signal::INT)
    }

    /// Sends a signal, and waits for the end.
    pub(crate) fn end_by(mut self, signal: rustix::process::Signal) -> ExitStatus {
        signal_to(&self.child, signal);
        self.child.wait().unwrap()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
